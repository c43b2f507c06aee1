import Glibc
import IPC
import SystemPackage

// Pipes and pipelines, with all that they need from the system.

let streamOperations: [Operation] = [
    Operation("AnonymousPipe.init(capacity:)") { Attempt { _ = try AnonymousPipe(capacity: 8192) } },
    Operation(
        "PipeReader.init(adopting:)", "PipeReader.setCapacity(_:)", "PipeReader.close()", "PipeWriter.init(adopting:)",
        "PipeWriter.setCapacity(_:)", "PipeWriter.close()", "OwnedDescriptor.duplicate()", "OwnedDescriptor.close()"
    ) {
        let pipe = Box(try AnonymousPipe())
        return Attempt {
            let reader = try PipeReader(adopting: duplicate(pipe.value.reader.descriptor))
            let writer = try PipeWriter(adopting: duplicate(pipe.value.writer.descriptor))
            _ = try reader.setCapacity(8192)
            _ = try writer.setCapacity(4096)
            let owned = OwnedDescriptor(adopting: reader.release())
            let second = try owned.duplicate()
            try owned.close()
            try second.close()
            try writer.close()
        }
    },
    Operation("PipeReader.lines(limit:)", "Lines.Iterator.next() async", "Lines.Iterator.next(isolation:) async") {
        let pipe = Box(try AnonymousPipe())
        try pipe.value.writer.write(line().span.bytes)
        return Attempt(
            again: {},
            suspending: {
                var lines = try pipe.value.reader.lines(limit: 100).makeAsyncIterator()
                try require(try await lines.next() == "x", "a line")
            })
    },
    Operation("PipeReader.frames(limit:)", "Frames.Iterator.next() async", "Frames.Iterator.next(isolation:) async") {
        let pipe = Box(try AnonymousPipe())
        try pipe.value.writer.write(frame().span.bytes)
        return Attempt(
            again: {},
            suspending: {
                var frames = try pipe.value.reader.frames(limit: 100).makeAsyncIterator()
                try require(try await frames.next()?.count == 3, "a frame")
            })
    },
    Operation("NamedPipe.create(_:permissions:)") {
        let path = scratchPath()
        return Attempt(undo: { try require(unlink(path.string) == 0) }) {
            _ = try NamedPipe.create(path, permissions: [.ownerReadWrite, .groupRead])
        }
    },
    Operation("NamedPipe.openOrCreate(_:permissions:)") {
        let path = scratchPath()
        return Attempt(undo: { try require(unlink(path.string) == 0) }) { _ = try NamedPipe.openOrCreate(path) }
    },
    Operation("NamedPipe.open(_:)", "NamedPipe.openOrCreate(_:permissions:)") {
        let pipe = try NamedPipe.create(scratchPath())
        return Attempt {
            _ = try NamedPipe.open(pipe.path)
            _ = try NamedPipe.openOrCreate(pipe.path, permissions: .ownerReadWrite)
        }
    },
    Operation("NamedPipe.unlink()") {
        let pipe = try NamedPipe.create(scratchPath())
        return Attempt { try pipe.unlink() }
    },
    Operation("NamedPipe.openForReading(until:)", "NamedPipe.openForWriting(until:)") {
        let pipe = try NamedPipe.create(scratchPath())
        // Which is a writer, for the one who reads.
        let both = Giveable(
            OwnedDescriptor(adopting: try FileDescriptor.open(pipe.path, .readWrite, options: .closeOnExec)))
        return Attempt(end: { both.give() }) {
            _ = try pipe.openForReading(until: .after(.seconds(10)))
            _ = try pipe.openForWriting(until: .after(.seconds(10)))
            try require(try pipe.tryOpenForWriting() != nil)
            _ = try pipe.tryOpenForReading()
        }
    },
    Operation("Pipeline.run(until:errorLimit:input:output:) async") {
        Attempt(suspending: {
            let pipeline = Pipeline([["cat"], ["cat"]], standardError: .captured)
            let (output, result) = try await pipeline.run(until: .after(.seconds(20))) { input in
                try await input.write(three().span.bytes)
            } output: { output in
                try await output.readToEnd()
            }
            try result.check()
            try require(output == three(), "the input")
        })
    },
    Operation("Pipeline.run(input:outputLimit:until:) async", "Pipeline.Result.check()") {
        Attempt(suspending: {
            let result = try await Pipeline([["cat"], ["cat"]]).run(input: three(), until: .after(.seconds(20)))
            try result.check()
            try require(result.output == three(), "the input")
        })
    },
]

func duplicate(_ descriptor: FileDescriptor) throws -> OwnedDescriptor {
    let copy = fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 3)
    if copy < 0 { throw Errno(rawValue: errno) }
    return OwnedDescriptor(adopting: FileDescriptor(rawValue: copy))
}

func line() -> [UInt8] { Array("x\n".utf8) }
/// Four bytes of its length first.
func frame() -> [UInt8] { [0, 0, 0, 3, 1, 2, 3] }
