"""Things: device twins and the mappers that read and write devices."""
