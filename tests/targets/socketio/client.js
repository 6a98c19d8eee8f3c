// A Socket.IO client that does what it is told, a JSON list per line of standard input, and says
// what happens, an object per line of standard output.
//
//   ["open", URL, OPTIONS]        connect; OPTIONS.token goes into the auth payload
//   ["emit", NAME, PAYLOAD, ID]   send an event; its acknowledgement comes as {ack: ID, data}
//   ["token", TEXT]               the token of the next connection
//   ["reconnect"]                 connect again after the server sent us away
//   ["close"]                     disconnect
import readline from "node:readline";
import { io } from "socket.io-client";

const say = (what) => process.stdout.write(JSON.stringify({ at: Date.now(), ...what }) + "\n");
let socket;
let token;

const told = {
  open(url, options) {
    token = options.token;
    const auth = (give) => give(token === undefined ? {} : { token });
    socket = io(url, { reconnectionDelay: 100, reconnectionDelayMax: 300, ...options, auth });
    socket.io.on("open", () => {
      const { engine } = socket.io;
      say({ on: "open", transport: engine.transport.name });
      engine.once("upgrade", (transport) => say({ on: "upgrade", transport: transport.name }));
    });
    socket.on("connect", () => say({ on: "connect", transport: socket.io.engine.transport.name }));
    socket.on("connect_error", (error) =>
      say({ on: "connect_error", message: error.message, data: error.data ?? null }));
    socket.on("disconnect", (reason) => say({ on: "disconnect", reason }));
    socket.onAny((name, data) => say({ on: name, data }));
  },
  emit(name, payload, id) {
    const words = payload === null ? [name] : [name, payload];
    socket.emit(...words, (data) => say({ ack: id, data }));
  },
  token(text) {
    token = text;
  },
  reconnect() {
    socket.connect();
  },
  close() {
    socket.close();
  },
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [what, ...rest] = JSON.parse(line);
  told[what](...rest);
}).on("close", () => process.exit(0));
say({ on: "ready" });
