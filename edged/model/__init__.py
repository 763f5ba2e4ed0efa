"""What things are: kinds as typed structs, selectors, quantities, patches, field schemas. Pure."""
