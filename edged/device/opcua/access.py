"""Reading, writing and calling nodes of a server, and finding them by path. On the asyncio loop."""

from collections.abc import Sequence
from typing import Any, TypeVar

from asyncua import ua

from edged.device.mapper import Found, PropertyError
from edged.device.opcua.nodes import Address, Node
from edged.device.opcua.variants import found, natural, variant, words
from edged.errors import ProtocolError
from edged.model.values import Value

TOGETHER = 500  # nodes of one request: fewer than any server's limit that was met, and few round trips for thousands
VALUE, DATA_TYPE = ua.AttributeIds.Value, ua.AttributeIds.DataType
OBJECTS, HIERARCHICAL = ua.NodeId(ua.ObjectIds.ObjectsFolder), ua.NodeId(ua.ObjectIds.HierarchicalReferences)
NAMESPACES = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)

T = TypeVar("T")
Path = tuple[tuple[int, str], ...]


class Access:
    """The nodes of one server. Raises what the library raises, and PropertyError for the fault of one node."""

    def __init__(self, address: Address, client: Any) -> None:
        self._address, self._client = address, client
        self._nodes: dict[Node, Any] = {}  # NodeId or PropertyError
        self._types: dict[Node, Any] = {}
        self._namespaces: list[str] = []

    @property
    def _session(self) -> Any:
        return self._client.uaclient.session

    async def read(self, nodes: Sequence[Node]) -> list[Found]:
        """What is at these nodes, in their order."""
        places = await self.resolve(nodes)
        held = iter(await self.held([place for place in places if isinstance(place, ua.NodeId)]))
        return [
            place if isinstance(place, PropertyError) else found(node.type, next(held))
            for node, place in zip(nodes, places, strict=True)
        ]

    async def held(self, places: Sequence[Any], attribute: Any = VALUE) -> list[Any]:
        """The DataValue of an attribute of each of these NodeIds."""
        held: list[Any] = []
        for some in pieces(places):
            asked = [ua.ReadValueId(place, attribute) for place in some]
            parameters = ua.ReadParameters(0, ua.TimestampsToReturn.Both, asked)
            held += whole(some, await self._session.read(parameters))
        return held

    async def write(self, node: Node, value: Value) -> None:
        """Write a value as the node's own type. PropertyError: the type cannot hold it, or the server refuses."""
        place = await self._place(node)
        if node not in self._types:
            self._types[node] = await self._type(place)
        asked = ua.WriteValue(place, VALUE, None, ua.DataValue(variant(value, self._types[node])))
        (status,) = whole([node], await self._session.write(ua.WriteParameters([asked])))
        if not status.is_good():
            raise PropertyError(words(status))

    async def _type(self, place: Any) -> Any:
        """The variant type that a node holds: that of its value, of none that of its declared DataType."""
        (held,) = await self.held([place])
        if held.Value is not None and held.Value.Value is not None:
            if isinstance(held.Value.Value, list):
                raise PropertyError("holds several values; one cannot be written")
            return held.Value.VariantType
        (declared,) = await self.held([place], DATA_TYPE)
        if declared.StatusCode is not None and declared.StatusCode.is_bad():
            raise PropertyError(words(declared.StatusCode))
        return _builtin(declared.Value.Value if declared.Value is not None else None)

    async def call(self, name: str, arguments: Sequence[Value]) -> list[Value]:
        """Call a method that the device's `methods` names. PropertyError: there is none, or the server refuses."""
        method = self._address.methods.get(name)
        if method is None:
            raise PropertyError(f'"{name}" is not in spec.protocol.configData.methods')
        owner = await self._place(Node("", method.object_id))
        place = await self._place(Node("", method.method_id))
        types = await self._inputs(place)
        if len(types) != len(arguments):
            raise PropertyError(f"{name} takes {len(types)} arguments, got {len(arguments)}")
        given = [variant(argument, type_) for argument, type_ in zip(arguments, types, strict=True)]
        asked = ua.CallMethodRequest(owner, place, given)
        (result,) = whole([name], await self._session.call([asked]))
        if not result.StatusCode.is_good():
            raise PropertyError(words(result.StatusCode))
        return [natural(each) for each in result.OutputArguments or []]

    async def _inputs(self, method: Any) -> list[Any]:
        """The types of a method's arguments; a method without any has no such property (Part 3, 5.7)."""
        (result,) = await self._translate([(method, ((0, "InputArguments"),))])
        if isinstance(result, PropertyError):
            return []
        (held,) = await self.held([result])
        declared = held.Value.Value if held.Value is not None else None
        return [_builtin(each.DataType) for each in declared or []]

    # Nodes

    async def _place(self, node: Node) -> Any:
        (place,) = await self.resolve([node])
        if isinstance(place, PropertyError):
            raise place
        return place

    async def resolve(self, nodes: Sequence[Node]) -> list[Any]:
        """Their NodeIds, or the PropertyError of each that is not found; that is looked for again the next time."""
        unknown = [node for node in nodes if not isinstance(self._nodes.get(node), ua.NodeId)]
        if any(node.node_id.startswith("nsu=") for node in unknown) and not self._namespaces:
            (held,) = await self.held([NAMESPACES])
            self._namespaces = list(held.Value.Value or []) if held.Value is not None else []
        for node in unknown:
            if node.node_id:
                self._nodes[node] = self._parsed(node.node_id)
        paths = [node for node in unknown if node.path]
        for some in pieces(paths):
            for node, place in zip(some, await self._translate([(OBJECTS, node.path) for node in some]), strict=True):
                self._nodes[node] = place
        return [self._nodes[node] for node in nodes]

    def _parsed(self, text: str) -> Any:
        if text.startswith("nsu="):
            uri, _, rest = text.removeprefix("nsu=").partition(";")
            if uri not in self._namespaces:
                return PropertyError(f'the server has no namespace "{uri}"')
            text = f"ns={self._namespaces.index(uri)};{rest}"
        try:
            return ua.NodeId.from_string(text)
        except ua.UaError as error:
            return PropertyError(f"{text}: {error}")

    async def _translate(self, paths: Sequence[tuple[Any, Path]]) -> list[Any]:
        """The NodeId at each path from a node, or a PropertyError."""
        asked = [ua.BrowsePath(start, ua.RelativePath([_step(*name) for name in names])) for start, names in paths]
        results = whole(paths, await self._session.translate_browsepaths_to_nodeids(asked))
        return [_target(result) for result in results]


def _target(result: Any) -> Any:
    if result.StatusCode.is_good() and result.Targets:
        return result.Targets[0].TargetId
    return PropertyError(f"is not found: {words(result.StatusCode)}")


def _step(namespace: int, name: str) -> Any:
    return ua.RelativePathElement(HIERARCHICAL, False, True, ua.QualifiedName(name, namespace))


def _builtin(declared: Any) -> Any:
    """The variant type of a DataType that is a built-in one (Part 6, 5.1.2)."""
    number = declared.Identifier if declared is not None and declared.NamespaceIndex == 0 else None
    try:
        return ua.VariantType(number)
    except ValueError as error:
        raise PropertyError(f"is of the type {declared}, which cannot be written") from error


def pieces(all_: Sequence[T]) -> list[Sequence[T]]:
    """In pieces that fit a request."""
    return [all_[at : at + TOGETHER] for at in range(0, len(all_), TOGETHER)]


def whole(asked: Sequence[Any], results: Sequence[T] | None) -> Sequence[T]:
    """The results, one for each that was asked for. ProtocolError: there are more or fewer."""
    if results is None or len(results) != len(asked):
        raise ProtocolError(f"answers {len(asked)} questions with {len(results or [])} results")
    return results
