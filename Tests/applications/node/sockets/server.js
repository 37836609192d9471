// server.js PORT: speaks lib/peer.py's protocol. With a second argument, that many workers of cluster share PORT; each
// that ends in time exits with 0, and the primary says how many connections each had.
'use strict';
const cluster = require('cluster');
const crypto = require('crypto');
const dgram = require('dgram');
const net = require('net');

const CHUNK = 65536;
const port = Number(process.argv[2]);
const workers = Number(process.argv[3] || 0);

class Connection {
  constructor(socket) {
    this.socket = socket;
    this.state = 'line';
    this.text = '';
    socket.on('data', (data) => this.take(data));
    socket.on('end', () => socket.end());
    socket.on('error', (error) => console.log('a client left:', error.code));
  }

  // The rest of a request's line may be in the same data as what follows it.
  take(data) {
    while (data.length > 0) {
      if (this.state === 'line') data = this.line(data);
      else if (this.state === 'put') data = this.put(data);
      else throw new Error(`bytes while a client waits: ${this.state}`);
    }
  }

  line(data) {
    const end = data.indexOf(10);
    this.text += data.toString('latin1', 0, end < 0 ? data.length : end);
    if (end < 0) return Buffer.alloc(0);
    const [word, count] = this.text.split(' ');
    this.text = '';
    this.left = Number(count);
    this.digest = crypto.createHash('md5');
    const rest = data.subarray(end + 1);
    if (word === 'PUT') this.state = 'put';
    else if (word === 'GET') this.get();
    else if (word === 'ECHO') return this.echo(rest);
    else throw new Error(`no such request: ${word}`);
    return rest;
  }

  put(data) {
    const part = data.subarray(0, this.left);
    this.digest.update(part);
    this.left -= part.length;
    if (this.left === 0) this.answer();
    return data.subarray(part.length);
  }

  // write() says when to stop, 'drain' when to go on.
  get() {
    let room = true;
    while (this.left > 0 && room) {
      const data = crypto.randomBytes(Math.min(this.left, CHUNK));
      this.digest.update(data);
      this.left -= data.length;
      room = this.socket.write(data);
    }
    if (this.left > 0) this.socket.once('drain', () => this.get());
    else this.answer();
  }

  echo(rest) {
    this.socket.removeAllListeners('data');
    this.socket.removeAllListeners('end');
    if (rest.length > 0) this.socket.write(rest);
    this.socket.pipe(this.socket); // pauses and resumes by itself; its end is the other's end
    return Buffer.alloc(0);
  }

  answer() {
    this.socket.write(this.digest.digest('hex') + '\n');
    this.state = 'line';
  }
}

function serveConnections() {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => new Connection(socket));
  server.listen({ port, host: '::', backlog: 4096 });
  return server;
}

function serveDatagrams() {
  for (const options of [{ type: 'udp4' }, { type: 'udp6', ipv6Only: true }]) {
    const socket = dgram.createSocket(options);
    socket.on('message', (data, from) => socket.send(data, from.port, from.address));
    socket.bind(port);
  }
}

function runPrimary() {
  const counts = new Map();
  cluster.on('message', (worker, count) => counts.set(worker.id, count));
  cluster.on('exit', (worker, code, signal) => {
    if (code !== 0) console.error(`worker ${worker.id} ended by ${code} ${signal}`);
  });
  for (let number = 0; number < workers; number++) cluster.fork();
  process.on('SIGTERM', () => {
    cluster.disconnect(() => {
      console.log('connections of each worker:', ...counts.values());
      if (counts.size !== workers) console.error(`${workers - counts.size} workers were never given a connection`);
    });
  });
}

if (workers > 0 && cluster.isPrimary) {
  runPrimary();
} else {
  const server = serveConnections();
  if (cluster.isWorker) {
    let count = 0;
    server.on('connection', () => process.send(++count));
    process.on('SIGTERM', () => {}); // the primary's affair
  } else {
    serveDatagrams();
  }
}
