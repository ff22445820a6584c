// Broadcast with Bun's own publish: every message to all connections but its sender.
//
// Limits as in uws.mjs.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, self) => {
    if (!self.upgrade(request)) return new Response(null, { status: 400 });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    backpressureLimit: 512 * 1024,
    open: (socket) => socket.subscribe('bench'),
    message: (socket, message) => socket.publish('bench', message),
  },
});
console.log(`ws://127.0.0.1:${server.port}/ws`);
