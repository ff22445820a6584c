// The demo page: a minimal STOMP 1.2 client over the browser's WebSocket or over SockJS (sockjs.js),
// and the page around it.
//
// It leans on what this server promises: one STOMP frame per message. A general client
// has to reassemble frames across messages; use stompjs for that.

'use strict';

const MESSAGES_MAX = 200;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 30_000;
const HANDSHAKE_MS_MAX = 10_000;
// What we offer: we send every 60 s (background tabs cannot do it more often), we want 20 s.
const SEND_MS = 60_000;
const EXPECT_MS = 20_000;

const byId = (id) => document.getElementById(id);
const state = byId('state');
const notice = byId('notice');
const noticeText = byId('notice-text');
const destinationInput = byId('destination');
const publishToInput = byId('publish-to');
const messageInput = byId('message');
const publishButton = byId('publish');
const messageList = byId('messages');

// --- STOMP 1.2 frames ---

const ESCAPES = { '\\': '\\\\', '\r': '\\r', '\n': '\\n', ':': '\\c' };
const UNESCAPES = { '\\\\': '\\', '\\r': '\r', '\\n': '\n', '\\c': ':' };
const escapeHeader = (text) => text.replace(/[\\\r\n:]/g, (c) => ESCAPES[c]);
const unescapeHeader = (text) => text.replace(/\\[\\rnc]/g, (c) => UNESCAPES[c]);

// "C style string literal escapes [...] in all frames except the CONNECT and CONNECTED frames."
function encodeFrame(command, headers, body = '') {
  const raw = command === 'CONNECT';
  let text = `${command}\n`;
  for (const [name, value] of Object.entries(headers)) {
    text += raw ? `${name}:${value}\n` : `${escapeHeader(name)}:${escapeHeader(value)}\n`;
  }
  return `${text}\n${body}\0`;
}

// Null for a heart-beat.
function decodeFrame(data) {
  const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
  const frame = text.replace(/^[\r\n]+/, '');
  if (frame === '') return null;
  const headEnd = frame.indexOf('\n\n');
  const bodyEnd = frame.lastIndexOf('\0');
  if (headEnd < 0 || bodyEnd < headEnd) throw new Error('seen a message that is no STOMP frame');
  const [command, ...lines] = frame.slice(0, headEnd).split('\n');
  const headers = new Map();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const parts = [line.slice(0, colon), line.slice(colon + 1)];
    const [name, value] = command === 'CONNECTED' ? parts : parts.map(unescapeHeader);
    // "Only the first header entry should be used."
    if (!headers.has(name)) headers.set(name, value);
  }
  return { command, headers, body: frame.slice(headEnd + 2, bodyEnd) };
}

// --- The connection: one `link` per socket, replaced as a whole by the next ---

let link = null;
let attempts = 0;
let reconnectTimer = 0;
let wanted = destinationInput.value;
let serial = 0;

function show(name, text) {
  state.dataset.state = name;
  state.textContent = text;
  if (name === 'subscribed') state.dataset.destination = wanted;
  else delete state.dataset.destination;
  showPublish();
}

// A SEND to a pattern would be answered with an ERROR, which ends the connection.
function showPublish() {
  const pattern = isPattern(publishToInput.value);
  publishButton.disabled = !link?.connected || pattern;
  byId('publish-hint').hidden = !pattern;
}

// In any profile's dialect; only topics have patterns.
function isPattern(destination) {
  return destination.startsWith('/topic/') && /[*?{}#>]/.test(destination);
}

// A notice stays until it is dismissed or something is asked for anew: the page connects again
// within a second, and what went wrong must remain readable. `lasts` says so even of a success.
let lasts = false;

function complain(text, stays = false) {
  noticeText.textContent = text;
  notice.hidden = text === '';
  lasts = stays && text !== '';
}

const TRANSPORTS = {
  websocket: { name: 'WebSocket', connect: openWebSocket },
  streaming: { name: 'streaming', connect: () => new SockJsSocket('/sockjs', 'xhr_streaming') },
  polling: { name: 'polling', connect: () => new SockJsSocket('/sockjs', 'xhr') },
};

function openWebSocket() {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(`${scheme}//${location.host}/ws`, ['v12.stomp']);
  socket.binaryType = 'arraybuffer';
  return socket;
}

function open() {
  clearTimeout(reconnectTimer);
  const transport = TRANSPORTS[byId('transport').value];
  const socket = transport.connect();
  state.dataset.transport = byId('transport').value;
  const own = {
    socket,
    transport,
    connected: false,
    subscription: null,
    receipt: null,
    timers: [],
    heard: 0,
  };
  link = own;
  show('connecting', 'connecting');
  own.timers.push(setTimeout(() => own.connected || drop(own), HANDSHAKE_MS_MAX));
  socket.addEventListener('open', () => {
    const headers = {
      'accept-version': '1.2',
      host: location.hostname,
      'heart-beat': `${SEND_MS},${EXPECT_MS}`,
    };
    if (byId('login').value !== '') {
      headers.login = byId('login').value;
      headers.passcode = byId('passcode').value;
    }
    socket.send(encodeFrame('CONNECT', headers));
  });
  socket.addEventListener('message', (event) => {
    if (link !== own) return;
    own.heard = performance.now();
    try {
      const frame = decodeFrame(event.data);
      if (frame !== null) receive(own, frame);
    } catch (error) {
      complain(error.message);
      drop(own);
    }
  });
  socket.addEventListener('close', (event) => {
    // Of a transport that is off, or that something on the way does not let through.
    if (link === own && !own.connected && notice.hidden) {
      complain(`No connection by ${transport.name}. ${event.reason}`.trim());
    }
    drop(own);
  });
}

// Ends a link and plans the next; a second call for the same link does nothing.
function drop(own) {
  if (link !== own) return;
  close(own);
  const limit = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** attempts);
  attempts += 1;
  // Half fixed, half random: many pages that lost one server do not come back in one instant.
  const delay = limit / 2 + (Math.random() * limit) / 2;
  show('offline', `offline, next try in ${Math.max(1, Math.round(delay / 1000))} s`);
  reconnectTimer = setTimeout(open, delay);
}

function close(own) {
  link = null;
  for (const timer of own.timers) clearInterval(timer);
  own.socket.close();
}

function reopen() {
  if (link !== null) close(link);
  attempts = 0;
  open();
}

function receive(own, frame) {
  switch (frame.command) {
    case 'CONNECTED':
      own.connected = true;
      beat(own, frame.headers.get('heart-beat') ?? '0,0');
      subscribe(own);
      break;
    case 'RECEIPT':
      // The subscription is live: from here on the connection counts as good.
      if (frame.headers.get('receipt-id') === own.receipt) {
        attempts = 0;
        if (!lasts) complain('');
        show('subscribed', `subscribed to ${wanted} by ${own.transport.name}`);
      }
      break;
    case 'MESSAGE':
      if (frame.headers.get('subscription') === own.subscription) list(frame);
      break;
    case 'ERROR':
      // The server closes after it; the close event plans the next try.
      complain(
        `The server says: ${frame.headers.get('message') ?? 'ERROR'}. ${frame.body}`.trim(),
        true,
      );
      break;
    default:
      throw new Error(`seen the command ${frame.command}`);
  }
}

// Heart-beats as the specification agrees on them: the slower of both sides, 0 is none.
function beat(own, header) {
  const [serverSends, serverExpects] = header.split(',').map(Number);
  if (serverExpects > 0) {
    const every = Math.max(SEND_MS, serverExpects);
    own.timers.push(setInterval(() => own.socket.send('\n'), every));
  }
  if (serverSends > 0) {
    const silence = 2 * Math.max(EXPECT_MS, serverSends);
    const check = () => performance.now() - own.heard > silence && drop(own);
    own.timers.push(setInterval(check, silence / 2));
  }
}

function subscribe(own) {
  if (own.subscription !== null) {
    own.socket.send(encodeFrame('UNSUBSCRIBE', { id: own.subscription }));
  }
  serial += 1;
  own.subscription = `demo-${serial}`;
  own.receipt = `subscribed-${serial}`;
  show('connected', 'connected, subscribing');
  const headers = { id: own.subscription, destination: wanted, receipt: own.receipt };
  own.socket.send(encodeFrame('SUBSCRIBE', headers));
}

// --- The page ---

function list(frame) {
  const now = new Date();
  const time = document.createElement('time');
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString();
  const from = document.createElement('span');
  from.className = 'from';
  from.textContent = frame.headers.get('destination') ?? '';
  const body = document.createElement('span');
  body.className = 'body';
  body.textContent = frame.body;
  const item = document.createElement('li');
  item.append(time, from, body);
  messageList.prepend(item);
  while (messageList.children.length > MESSAGES_MAX) messageList.lastElementChild.remove();
}

byId('subscribe-form').addEventListener('submit', (event) => {
  event.preventDefault();
  wanted = destinationInput.value;
  if (!isPattern(wanted)) publishToInput.value = wanted;
  showPublish();
  complain('');
  if (link?.connected) subscribe(link);
  else reopen();
});

byId('publish-form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!link?.connected || isPattern(publishToInput.value)) return;
  complain('');
  const body = messageInput.value;
  const headers = {
    destination: publishToInput.value,
    'content-type': 'text/plain;charset=utf-8',
    'content-length': String(new TextEncoder().encode(body).length),
  };
  link.socket.send(encodeFrame('SEND', headers, body));
  messageInput.value = '';
  messageInput.focus();
});

byId('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  complain('');
  reopen();
});

byId('transport').addEventListener('change', () => {
  complain('');
  reopen();
});

publishToInput.addEventListener('input', showPublish);

byId('dismiss').addEventListener('click', () => complain(''));

byId('clear').addEventListener('click', () => messageList.replaceChildren());

// Back on the network: do not wait for the rest of the backoff.
addEventListener('online', () => {
  if (link === null) reopen();
});

open();
