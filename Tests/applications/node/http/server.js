// server.js FOLDER: HTTP at 8000, HTTPS at 8443, HTTP/2 over TLS at 8444, by server.pem and server.key of FOLDER.
// It is asked as lib/peer_http.py is: GET /random/N, /chunked/N, /silent, /short; PUT /hash.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');

async function* random(left) {
  const digest = crypto.createHash('md5');
  while (left > 0) {
    const data = crypto.randomBytes(Math.min(left, 65536));
    digest.update(data);
    left -= data.length;
    yield data;
  }
  yield digest.digest('hex');
}

async function answer(request, response) {
  const [, what, count] = request.url.split('/');
  if (request.method === 'PUT' || request.method === 'POST') {
    const digest = crypto.createHash('md5');
    for await (const data of request) digest.update(data);
    response.end(digest.digest('hex'));
  } else if (what === 'random' || what === 'chunked') {
    if (what === 'random') response.setHeader('Content-Length', Number(count) + 32);
    await pipeline(Readable.from(random(Number(count)), { objectMode: false }), response);
  } else if (what === 'short') {
    response.setHeader('Content-Length', 1000);
    response.write(Buffer.alloc(100), () => response.destroy());
  } else if (what !== 'silent') {
    throw new Error(request.url);
  }
}

function serve(request, response) {
  answer(request, response).catch((error) => {
    if (['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'].includes(error.code)) console.log('a client left:', error.code);
    else throw error;
  });
}

const folder = process.argv[2];
const secure = { key: fs.readFileSync(`${folder}/server.key`), cert: fs.readFileSync(`${folder}/server.pem`) };
http.createServer(serve).listen({ port: 8000, host: '::', backlog: 4096 });
https.createServer(secure, serve).listen({ port: 8443, host: '::', backlog: 4096 });
http2.createSecureServer(secure, serve).listen({ port: 8444, host: '::', backlog: 4096 });
