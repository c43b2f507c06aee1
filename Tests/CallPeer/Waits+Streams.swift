import Glibc
import IPC
import SystemPackage

// Pipes and connected sockets: a reader whose peer writes nothing, a writer whose peer reads nothing.

let pipeWaits: [Wait] = [
    Wait("PipeReader.read(into:until:)", "PipeReader.tryRead(into:)") {
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .blocking { deadline in try receiving { try pipe.value.reader.read(into: &$0, until: deadline) == 3 }
            },
            release: { try pipe.value.writer.write(three().span.bytes) },
            tries: [("tryRead", { try receiving { try pipe.value.reader.tryRead(into: &$0) != nil } })])
    },
    Wait("PipeReader.read(into:until:) async") {
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving { try await pipe.value.reader.read(into: &$0, until: deadline) == 3 }
            }, release: { try pipe.value.writer.write(three().span.bytes) })
    },
    Wait("PipeReader.readExactly(into:until:)") {
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .blocking { deadline in
                try receiving(3) { try pipe.value.reader.readExactly(into: &$0, until: deadline) }
                return true
            }, release: { try pipe.value.writer.write(three().span.bytes) })
    },
    Wait("PipeReader.readExactly(into:until:) async") {
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving(3) { try await pipe.value.reader.readExactly(into: &$0, until: deadline) }
                return true
            }, release: { try pipe.value.writer.write(three().span.bytes) })
    },
    Wait("PipeReader.readToEnd(limit:until:)") {
        let pipe = try AnonymousPipe()
        let writer = Giveable(try PipeWriter(adopting: OwnedDescriptor(adopting: pipe.writer.descriptor.duplicate())))
        let reader = Box(pipe.closingWriter())
        return Wait.Case(
            call: .blocking { deadline in try reader.value.readToEnd(until: deadline).isEmpty },
            release: { writer.give() })
    },
    Wait("PipeReader.readToEnd(limit:until:) async") {
        let pipe = try AnonymousPipe()
        let writer = Giveable(try PipeWriter(adopting: OwnedDescriptor(adopting: pipe.writer.descriptor.duplicate())))
        let reader = Box(pipe.closingWriter())
        return Wait.Case(
            call: .suspending { deadline in try await reader.value.readToEnd(until: deadline).isEmpty },
            release: { writer.give() })
    },
    Wait("PipeWriter.write(_:until:)", "PipeWriter.tryWrite(_:)") {
        let pipe = try fullPipe()
        return Wait.Case(
            call: .blocking { deadline in
                try pipe.value.writer.write(three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pipe) },
            tries: [("tryWrite", { try pipe.value.writer.tryWrite(three().span.bytes) != nil })])
    },
    Wait("PipeWriter.write(_:until:) async") {
        let pipe = try fullPipe()
        return Wait.Case(
            call: .suspending { deadline in
                try await pipe.value.writer.write(three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pipe) })
    },
    Wait("PipeWriter.write(frame:until:) async") {
        let pipe = try fullPipe()
        return Wait.Case(
            call: .suspending { deadline in
                try await pipe.value.writer.write(frame: three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pipe) })
    },
    Wait("NamedPipe.openForReading(until:)") {
        let pipe = try NamedPipe.create(scratchPath())
        let writer = Giveable<PipeWriter>()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try pipe.openForReading(until: deadline)
                return true
            }, release: { writer.value = try openedWriter(pipe) }, isReleasedByCall: true)
    },
    Wait("NamedPipe.openForReading(until:) async") {
        let pipe = try NamedPipe.create(scratchPath())
        let writer = Giveable<PipeWriter>()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await pipe.openForReading(until: deadline)
                return true
            }, release: { writer.value = try openedWriter(pipe) }, isReleasedByCall: true)
    },
    Wait("NamedPipe.openForWriting(until:)", "NamedPipe.tryOpenForWriting()", "NamedPipe.tryOpenForReading()") {
        let pipe = try NamedPipe.create(scratchPath())
        let reader = Giveable<PipeReader>()
        return Wait.Case(
            call: .blocking { deadline in
                _ = try pipe.openForWriting(until: deadline)
                return true
            }, release: { reader.value = try pipe.tryOpenForReading() },
            tries: [("tryOpenForWriting", { try pipe.tryOpenForWriting() != nil })])
    },
    Wait("NamedPipe.openForWriting(until:) async") {
        let pipe = try NamedPipe.create(scratchPath())
        let reader = Giveable<PipeReader>()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await pipe.openForWriting(until: deadline)
                return true
            }, release: { reader.value = try pipe.tryOpenForReading() })
    },
    Wait("Pipeline.run(until:errorLimit:input:output:) async") {
        let file = scratchPath()
        return Wait.Case(
            call: .suspending { deadline in
                let pipeline = Pipeline([["sh", "-c", "while ! [ -e \(file.string) ]; do sleep 0.02; done"]])
                return try await pipeline.run(until: deadline) { try await $0.readToEnd() }.value.isEmpty
            }, release: { close(creat(file.string, 0o600)) })
    },
    Wait("Pipeline.run(input:outputLimit:until:) async") {
        let file = scratchPath()
        return Wait.Case(
            call: .suspending { deadline in
                let pipeline = Pipeline([["sh", "-c", "while ! [ -e \(file.string) ]; do sleep 0.02; done"]])
                return try await pipeline.run(until: deadline).output.isEmpty
            }, release: { close(creat(file.string, 0o600)) })
    },
]

private func openedWriter(_ pipe: NamedPipe) throws -> PipeWriter {
    // The reader may be between two looks.
    try pipe.openForWriting(until: .after(.seconds(20)))
}

private func fullPipe() throws -> Box<AnonymousPipe> {
    let pipe = Box(try AnonymousPipe(capacity: 4096))
    try fill { try pipe.value.writer.tryWrite(kilobyte().span.bytes) != nil }
    try fill { try pipe.value.writer.tryWrite(([1] as [UInt8]).span.bytes) != nil }
    return pipe
}

private func drain(_ pipe: Box<AnonymousPipe>) throws {
    try fill { try receiving(8192) { try pipe.value.reader.tryRead(into: &$0) != nil } }
}

let streamWaits: [Wait] = [
    Wait("StreamSocket.read(into:until:)", "StreamSocket.tryRead(into:)") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in try receiving { try pair.value.first.read(into: &$0, until: deadline) == 3 }
            },
            release: { try pair.value.second.write(three().span.bytes) },
            tries: [("tryRead", { try receiving { try pair.value.first.tryRead(into: &$0) != nil } })])
    },
    Wait("StreamSocket.read(into:until:) async") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving { try await pair.value.first.read(into: &$0, until: deadline) == 3 }
            }, release: { try pair.value.second.write(three().span.bytes) })
    },
    Wait("StreamSocket.readExactly(into:until:)") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                try receiving(3) { try pair.value.first.readExactly(into: &$0, until: deadline) }
                return true
            }, release: { try pair.value.second.write(three().span.bytes) })
    },
    Wait("StreamSocket.readExactly(into:until:) async") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .suspending { deadline in
                try await receiving(3) { try await pair.value.first.readExactly(into: &$0, until: deadline) }
                return true
            }, release: { try pair.value.second.write(three().span.bytes) })
    },
    Wait("StreamSocket.readToEnd(limit:until:)") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in try pair.value.first.readToEnd(until: deadline).isEmpty },
            release: { try pair.value.second.finishWriting() })
    },
    Wait("StreamSocket.write(_:until:)", "StreamSocket.tryWrite(_:)") {
        let pair = try fullStream()
        return Wait.Case(
            call: .blocking { deadline in
                try pair.value.first.write(three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pair) },
            tries: [("tryWrite", { try pair.value.first.tryWrite(three().span.bytes) != nil })])
    },
    Wait("StreamSocket.write(_:until:) async") {
        let pair = try fullStream()
        return Wait.Case(
            call: .suspending { deadline in
                try await pair.value.first.write(three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pair) })
    },
    Wait("StreamSocket.write(frame:until:) async") {
        let pair = try fullStream()
        return Wait.Case(
            call: .suspending { deadline in
                try await pair.value.first.write(frame: three().span.bytes, until: deadline)
                return true
            }, release: { try drain(pair) })
    },
    Wait("StreamSocket.send(_:descriptors:until:)") {
        let pair = try fullStream()
        return Wait.Case(
            call: .blocking { deadline in
                try pair.value.first.send(three().span.bytes, descriptors: [.standardError], until: deadline)
                return true
            }, release: { try drain(pair) })
    },
    Wait("StreamSocket.receive(into:descriptors:maximumDescriptors:until:)") {
        let pair = Box(try StreamSocket.makePair())
        return Wait.Case(
            call: .blocking { deadline in
                var received = ReceivedDescriptors()
                return try receiving {
                    try pair.value.first.receive(into: &$0, descriptors: &received, until: deadline) == 3
                }
            }, release: { try pair.value.second.send(three().span.bytes, descriptors: [.standardError]) })
    },
]

private func fullStream() throws -> Box<SocketPair> {
    let pair = Box(try StreamSocket.makePair())
    try pair.value.first.setSendBufferSize(8192)
    try fill { try pair.value.first.tryWrite(kilobyte().span.bytes) != nil }
    try fill { try pair.value.first.tryWrite(([1] as [UInt8]).span.bytes) != nil }
    return pair
}

private func drain(_ pair: Box<SocketPair>) throws {
    try fill { try receiving(65_536) { try pair.value.second.tryRead(into: &$0) != nil } }
}
