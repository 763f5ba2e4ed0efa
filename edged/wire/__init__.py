"""What is said: the messages of the relay protocol and of the peer protocol, and their codec. Pure."""
