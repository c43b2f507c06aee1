import Glibc
import IPC
import TestSupport
import Testing

/// Lines of streams: however long, and in however small pieces they come.
@Suite(.timeLimit(.minutes(5))) struct LineTests {
    @Test func aLongLineInSmallPiecesTakesLinearTime() async throws {
        let pipe = try AnonymousPipe()
        // As many pieces as 16 MiB have from a pipe, and short, since sanitizers make each byte cost microseconds.
        let size = 2 << 20
        let lines = try pipe.reader.lines(limit: size)
        let writer = SharedReference(pipe.closingReader())
        let task = Task.detached {
            let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 256)
            for _ in 0..<size / 256 { try await writer.value.write(piece.span.bytes) }
            try await writer.value.write("\n".utf8.span.bytes)
        }
        let start = ContinuousClock.now
        for try await line in lines {
            #expect(line.utf8.count == size)
            break
        }
        #expect(ContinuousClock.now - start < .seconds(60))
        try await task.value
    }

    @Test(
        arguments: [
            ("12345\n12345\r\n", 2, nil), ("12345\n123456\n", 1, 5), ("1234\n12345678", 1, 5),
            ("12345\n123456\r\n", 1, 5),
            ("1\r\n\n", 2, nil),
        ] as [(String, Int, Int?)])
    func aLineThatIsTooLongIsAnErrorThatNamesTheLimit(text: String, count: Int, limit: Int?) async throws {
        let pair = try StreamSocket.makePair()
        try await pair.first.write(Array(text.utf8).span.bytes)
        try pair.first.finishWriting()
        var got = 0
        do {
            for try await _ in try pair.second.lines(limit: 5) { got += 1 }
            #expect(limit == nil)
        } catch {
            #expect(error.code == .messageTooLarge && error.advice.contains("limit of 5 bytes"))
            #expect(limit == 5)
        }
        #expect(got == count)
    }

    @Test func anyLimitIsTaken() async throws {
        for limit in [Int.max, Int.max - 1] {
            let pair = try StreamSocket.makePair()
            try await pair.first.write(frame: "frame".utf8.span.bytes)
            try await pair.first.write(Array("line\n".utf8).span.bytes)
            try pair.first.finishWriting()
            for try await frame in try pair.second.frames(limit: limit) {
                #expect(frame == Array("frame".utf8))
                break
            }
        }
        for limit in [-1, Int.min] {
            let pair = try StreamSocket.makePair()
            try await pair.first.write(Array("line\n".utf8).span.bytes)
            let lines = try pair.second.lines(limit: limit)
            await #expect(throws: IPCError.self) { for try await _ in lines {} }
        }
    }
}
