// SockJS over HTTP with the face of a WebSocket, as far as the demo page needs one: for networks
// that let no WebSocket through. Streaming and polling differ in the path only: an answer is read
// line by line, and when it has ended without closing the session, the next one is asked for.
//
// A page that must also work in old browsers takes sockjs-client.

'use strict';

class SockJsSocket extends EventTarget {
  // `receiver` is xhr_streaming or xhr.
  constructor(base, receiver) {
    super();
    const id = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16)).join('');
    this.url = `${base}/000/${id}`;
    this.abort = new AbortController();
    this.waiting = [];
    this.isSending = false;
    this.isClosed = false;
    this.listen(receiver);
  }

  post(path, body) {
    const headers = { 'Content-Type': 'text/plain' };
    const { signal } = this.abort;
    return fetch(`${this.url}/${path}`, { method: 'POST', body, headers, signal, cache: 'no-store' });
  }

  async listen(receiver) {
    try {
      while (!this.isClosed) {
        const answer = await this.post(receiver);
        if (answer.status !== 200) throw new Error(`The server answers ${answer.status}`);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = '';
        for (let read = await reader.read(); !read.done; read = await reader.read()) {
          const lines = (rest + read.value).split('\n');
          rest = lines.pop();
          lines.forEach((line) => this.take(line));
        }
      }
    } catch (error) {
      this.end(error.message);
    }
  }

  take(frame) {
    if (this.isClosed) return;
    if (frame === 'o') this.dispatchEvent(new Event('open'));
    else if (frame[0] === 'c') this.end();
    else if (frame[0] === 'a') {
      for (const data of JSON.parse(frame.slice(1))) {
        this.dispatchEvent(new MessageEvent('message', { data }));
      }
    }
  }

  // One request at a time keeps the order; what is sent meanwhile goes with the next.
  async send(text) {
    this.waiting.push(text);
    if (this.isSending) return;
    this.isSending = true;
    try {
      while (this.waiting.length > 0) {
        const answer = await this.post('xhr_send', JSON.stringify(this.waiting.splice(0)));
        if (!answer.ok) throw new Error(`The server answers ${answer.status}`);
      }
    } catch (error) {
      this.end(error.message);
    }
    this.isSending = false;
  }

  end(reason = '') {
    if (this.isClosed) return;
    this.isClosed = true;
    this.abort.abort();
    this.dispatchEvent(new CloseEvent('close', { reason }));
  }

  // Breaking off ends the session at the server, too.
  close() {
    this.end();
  }
}
