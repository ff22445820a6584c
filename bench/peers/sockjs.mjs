// Broadcast with sockjs-node over its raw WebSocket: every message to all clients but its sender.
import http from 'node:http';
import sockjs from 'sockjs';

const clients = new Set();
const service = sockjs.createServer({ log: () => {} });
service.on('connection', (client) => {
  clients.add(client);
  client.on('close', () => clients.delete(client));
  client.on('data', (message) => {
    for (const other of clients) if (other !== client) other.write(message);
  });
});

const server = http.createServer();
service.installHandlers(server, { prefix: '/bench' });
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(`ws://127.0.0.1:${server.address().port}/bench/websocket`);
});
