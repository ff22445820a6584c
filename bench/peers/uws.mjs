// Broadcast with uWebSockets' own publish: every message to all connections but its sender.
//
// Published behind the callback: within it uWebSockets holds the sender's cork, and then gives
// each message to each subscriber in a system call of its own, at 20 times the CPU.
// Limits as stompede's: 512 KiB may wait for a client (beyond that uWebSockets drops messages,
// which the generator counts as lost). No compression, no pings.
import { createRequire } from 'node:module';

const uws = createRequire(import.meta.url)('@trufflesuite/uws-js-unofficial');
let waiting = [];

function publishWaiting() {
  const messages = waiting;
  waiting = [];
  for (const { socket, message, isBinary } of messages) socket.publish('bench', message, isBinary);
}

uws.App()
  .ws('/ws', {
    compression: uws.DISABLED,
    idleTimeout: 0,
    sendPingsAutomatically: false,
    maxBackpressure: 512 * 1024,
    open: (socket) => socket.subscribe('bench'),
    // Who is gone cannot publish: the binding throws.
    close: (gone) => {
      waiting = waiting.filter(({ socket }) => socket !== gone);
    },
    message: (socket, message, isBinary) => {
      if (waiting.length === 0) setImmediate(publishWaiting);
      // The buffer is good during the callback only.
      waiting.push({ socket, message: message.slice(0), isBinary });
    },
  })
  .listen('127.0.0.1', 0, (listener) => {
    if (!listener) throw new Error('cannot listen');
    console.log(`ws://127.0.0.1:${uws.us_socket_local_port(listener)}/ws`);
  });
