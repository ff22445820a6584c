// Broadcast with ws, as its documentation shows it: every message to all clients but its sender.
import { WebSocket, WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws', backlog: 4096 });

server.on('connection', (sender) => {
  sender.on('message', (data, isBinary) => {
    for (const client of server.clients) {
      if (client !== sender && client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: isBinary });
      }
    }
  });
});
server.on('listening', () => console.log(`ws://127.0.0.1:${server.address().port}/ws`));
