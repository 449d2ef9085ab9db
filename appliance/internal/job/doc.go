// Package job owns the analysis of pushed files: the queue, the life of each job
// from its upload to its results, and the reading of those results.
//
// It promises: a job is in the database before anybody is told of it, and so is
// each of its attempts before a worker starts. A worker that dies is the file's
// fault, and twice is enough; a box that goes down is not, unless it does so on
// the same file again and again. What a worker committed is never lost, never
// told twice, and can be read from any line on, by any number of readers, while
// the job runs, rests, is killed and goes on.
//
// Nothing here decodes anything: workers are other processes. The control loop
// touches neither disk nor database; a job's own goroutine, the intake of
// uploads, the janitor and the callers' goroutines do.
package job
