"""The promises of the SDK as figures that anyone can reproduce: `make trust`."""
