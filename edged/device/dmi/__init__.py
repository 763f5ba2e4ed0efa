"""KubeEdge's Device Mapper Interface: mappers made for KubeEdge, as they are, over gRPC on a Unix socket."""
