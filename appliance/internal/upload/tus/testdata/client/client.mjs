// One run of tus-js-client, told by a JSON argument what to do; says what
// happens in JSON lines.
import { createReadStream, statSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import tus from 'tus-js-client'

const o = JSON.parse(process.argv[2])
const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }))

function make(file, done) {
  const size = statSync(file).size
  // A stream that is not a file's is read once, from its beginning to its end.
  const source = o.stream ? createReadStream(file).pipe(new PassThrough()) : createReadStream(file)
  let paused = false
  const options = {
    endpoint: o.endpoint,
    metadata: o.metadata ?? { filename: file.split('/').pop(), filetype: 'video/mp4' },
    retryDelays: o.retryDelays ?? null,
    chunkSize: o.chunkSize ?? Infinity,
    removeFingerprintOnSuccess: true,
    storeFingerprintForResuming: Boolean(o.store),
    urlStorage: o.store ? new tus.FileUrlStorage(o.store) : undefined,
    uploadDataDuringCreation: Boolean(o.duringCreation),
    uploadLengthDeferred: Boolean(o.deferred),
    overridePatchMethod: Boolean(o.override),
    headers: o.headers ?? {},
    onProgress(sent) {
      if (o.dieAt && sent >= o.dieAt) process.kill(process.pid, 'SIGKILL')
      if (o.pauseAt && !paused && sent >= o.pauseAt) {
        paused = true
        upload.abort(Boolean(o.terminate)).then(() => {
          say('paused', { url: upload.url })
          if (o.terminate) return done()
          setTimeout(() => upload.start(), 50)
        }, fail)
      }
    },
    onChunkComplete(size, accepted) { say('stored', { offset: accepted }) },
    onError: fail,
    onSuccess() {
      say('success', { url: upload.url })
      done()
    },
  }
  if (o.parallel) options.parallelUploads = o.parallel
  if (o.protocol) options.protocol = o.protocol
  if (!o.deferred && o.stream) options.uploadSize = size
  function fail(e) {
    say('error', { text: String(e.message ?? e), status: e.originalResponse?.getStatus() ?? 0, body: e.originalResponse?.getBody() ?? '' })
    done()
  }
  const upload = new tus.Upload(source, options)
  return upload
}

async function run(file) {
  let finished
  const end = new Promise((resolve) => { finished = resolve })
  const upload = make(file, finished)
  if (o.store) {
    const before = await upload.findPreviousUploads()
    say('previous', { count: before.length })
    if (before.length > 0) upload.resumeFromPreviousUpload(before[0])
  }
  upload.start()
  await end
}

await Promise.all(o.files.map(run))
