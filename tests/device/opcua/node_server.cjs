// An OPC UA server that is not Python's: node-opcua, driven by lines as opcua_server.py is.
//   node node_server.cjs NODE_MODULES PORT FOLDER      says `port N` once it serves
const [modules, port, folder] = process.argv.slice(2);
const { createRequire } = require("module");
const from = createRequire(modules + "/");
const { OPCUAServer } = from("node-opcua-server");
const { OPCUACertificateManager } = from("node-opcua-certificate-manager");
const { Variant, DataType } = from("node-opcua-variant");
const { StatusCodes } = from("node-opcua-status-code");

(async () => {
  const serverCertificateManager = new OPCUACertificateManager({ rootFolder: folder + "/pki", automaticallyAcceptUnknownCertificate: true });
  const server = new OPCUAServer({ port: Number(port), hostname: "127.0.0.1", serverCertificateManager });
  await server.initialize();
  server.engine.allowAnonymousSubscriptionTransferOnUnsecuredChannel = true; // else only who proves that it is the same
  const space = server.engine.addressSpace.getOwnNamespace();
  const boiler = space.addObject({ organizedBy: server.engine.addressSpace.rootFolder.objects, browseName: "Boiler", nodeId: "s=boiler" });
  const level = space.addVariable({ componentOf: boiler, browseName: "level", nodeId: "s=level", dataType: "Int32", minimumSamplingInterval: 0 });
  const setpoint = space.addVariable({ componentOf: boiler, browseName: "setpoint", nodeId: "s=setpoint", dataType: "Float" });
  level.setValueFromSource(new Variant({ dataType: DataType.Int32, value: -1 }));
  setpoint.setValueFromSource(new Variant({ dataType: DataType.Float, value: 21.5 }));
  await server.start();
  console.log("port " + server.endpoints[0].port);
  const items = () =>
    [...Object.values(server.engine._sessions).map((session) => session.publishEngine), server.engine._orphanPublishEngine]
      .flatMap((engine) => engine?.subscriptions ?? [])
      .flatMap((subscription) => [...subscription.monitoredItems.values()]);
  const sampled = async (value) => {
    while (items().some((item) => item.oldDataValue.value.value !== value)) await new Promise((done) => setTimeout(done, 20));
  };
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [word, value] = line.split(" ");
    if (word === "set") {
      level.setValueFromSource(new Variant({ dataType: DataType.Int32, value: Number(value) }), StatusCodes.Good, new Date());
      await sampled(Number(value)); // it looks at its variables by a clock, as a PLC does
    }
    if (word === "forget") // its sessions, as if they had timed out, but not what they monitor
      for (const session of Object.values(server.engine._sessions)) server.engine.closeSession(session.authenticationToken, false, "Timeout");
    if (word === "drop") for (const endpoint of server.endpoints) await endpoint.abruptlyInterruptChannels();
    console.log("done");
  }
})().catch((error) => { console.error(error); process.exit(1); });
