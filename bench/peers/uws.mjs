// Broadcast with uWebSockets' own publish: every message to all connections but its sender.
//
// Limits as stompede's: 512 KiB may wait for a client (beyond that uWebSockets drops messages,
// which the generator counts as lost). No compression, no pings.
import { createRequire } from 'node:module';

const uws = createRequire(import.meta.url)('@trufflesuite/uws-js-unofficial');

uws.App()
  .ws('/ws', {
    compression: uws.DISABLED,
    idleTimeout: 0,
    sendPingsAutomatically: false,
    maxBackpressure: 512 * 1024,
    open: (socket) => socket.subscribe('bench'),
    message: (socket, message, isBinary) => socket.publish('bench', message, isBinary),
  })
  .listen('127.0.0.1', 0, (listener) => {
    if (!listener) throw new Error('cannot listen');
    console.log(`ws://127.0.0.1:${uws.us_socket_local_port(listener)}/ws`);
  });
