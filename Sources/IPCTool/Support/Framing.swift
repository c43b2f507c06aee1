import ArgumentParser
import CIPCShims
import Glibc
import IPC
import SystemPackage

/// Where a message ends in standard input and output.
enum Framing: String, EnumerableFlag, Sendable {
    case lines, lengthPrefixed, hex, whole

    static func help(for value: Framing) -> ArgumentHelp? {
        switch value {
        case .lines: "Each message is a line."
        case .lengthPrefixed: "Each message has its length before it: four bytes, the most significant one first."
        case .hex: "Each message is a line of hexadecimal digits."
        case .whole: "All of the input is one message; messages are printed without anything between them."
        }
    }
}

struct FramingOption: ParsableArguments {
    @Flag var framing = Framing.lines
}

/// The messages that a command is given: its arguments, or, without any, standard input.
struct MessageSource {
    private let framing: Framing
    private var arguments: [String].Iterator
    private var input: MessageInput?

    init(_ arguments: [String], _ framing: Framing) {
        self.framing = framing
        self.arguments = arguments.makeIterator()
        input = arguments.isEmpty ? MessageInput(framing) : nil
    }

    mutating func next() async throws -> [UInt8]? {
        guard input == nil else { return try await input?.next() }
        guard let argument = arguments.next() else { return nil }
        return framing == .hex ? try Hex.bytes(Array(argument.utf8)) : Array(argument.utf8)
    }
}

/// Messages from standard input, whatever it is, in time that grows with its length only, in however small pieces it comes.
struct MessageInput {
    /// The longest line, in bytes: input without a newline does not fill the memory.
    static let lineLimit = 64 << 20

    private let framing: Framing
    private var bytes: [UInt8] = []
    private var start = 0
    /// Up to where there is no newline.
    private var searched = 0
    private var isAtEnd = false

    init(_ framing: Framing) { self.framing = framing }

    /// The next message; nil at the end.
    mutating func next() async throws -> [UInt8]? {
        while true {
            if let message = try cut() { return message }
            if isAtEnd { return nil }
            // What was taken is dropped when it is more than what is left, so that a long rest is not moved again and again.
            if start > bytes.count - start {
                bytes.removeFirst(start)
                searched = max(searched - start, 0)
                start = 0
            }
            let more = try await StandardInput.read()
            isAtEnd = more.isEmpty
            bytes += more
        }
    }

    private mutating func cut() throws -> [UInt8]? {
        let rest = bytes[start...]
        switch framing {
        case .lines, .hex:
            let newline = bytes[max(searched, start)...].firstIndex(of: UInt8(ascii: "\n"))
            searched = newline ?? bytes.count
            guard (newline ?? bytes.count) - start <= Self.lineLimit else {
                throw IPCError(
                    .messageTooLarge, "read", "standard input",
                    advice: "a line is longer than the limit of \(Self.lineLimit) bytes; "
                        + "use --length-prefixed or --whole for longer messages")
            }
            guard let end = newline ?? (isAtEnd && !rest.isEmpty ? rest.endIndex : nil) else { return nil }
            let line = Array(rest[..<end])
            start = min(end + 1, bytes.count)
            return framing == .hex ? try Hex.bytes(line) : line
        case .lengthPrefixed:
            guard rest.count >= 4 else {
                if isAtEnd, !rest.isEmpty { throw ValidationError("the input ends in the middle of a length.") }
                return nil
            }
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            guard rest.count - 4 >= length else {
                if isAtEnd { throw ValidationError("the input ends in the middle of a message of \(length) bytes.") }
                return nil
            }
            start += 4 + length
            return Array(rest.dropFirst(4).prefix(length))
        case .whole:
            guard isAtEnd, start == 0 else { return nil }
            // An empty input is an empty message, once.
            let whole = bytes
            bytes = [0]
            start = 1
            return whole
        }
    }
}

enum StandardInput {
    /// What comes next; empty at the end.
    static func read() async throws(IPCError) -> [UInt8] {
        while true {
            try await Reactor.wait(for: .readable, of: STDIN_FILENO, until: .never, "read", "standard input")
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = unsafe Glibc.read(STDIN_FILENO, &chunk, chunk.count)
            if count >= 0 { return Array(chunk[..<count]) }
            guard [EINTR, EAGAIN].contains(errno) else {
                throw IPCError("read", "standard input", Errno(rawValue: errno))
            }
        }
    }

    /// Whether there is something now, if only its end.
    static var isReadable: Bool {
        var entry = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, 0) > 0
    }

    static func readToEnd() async throws(IPCError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try await read()
            if more.isEmpty { return bytes }
            bytes += more
        }
    }
}

/// Messages to standard output.
struct MessageOutput {
    let framing: Framing

    func write(_ message: [UInt8]) throws {
        switch framing {
        case .lines: try Self.put(message + [UInt8(ascii: "\n")])
        case .hex: try Self.put(Array((Hex.text(message) + "\n").utf8))
        case .lengthPrefixed:
            let length = UInt32(message.count)
            try Self.put((0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message)
        case .whole: try Self.put(message)
        }
    }

    /// Who reads no more ends this program by SIGPIPE, as it ends `cat`. Who reads nothing does not keep it from ending in order:
    /// the wait for room in a pipe ends when the task is cancelled.
    static func put(_ bytes: [UInt8]) throws(IPCError) {
        var start = 0
        while start < bytes.count {
            start += try put(bytes[start...])
        }
    }

    private static func put(_ bytes: ArraySlice<UInt8>) throws(IPCError) -> Int {
        while true {
            let result = unsafe bytes.withUnsafeBytes { buffer in
                var vector = unsafe iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
                let result = retryingInterrupts { unsafe ipc_pwritev2(STDOUT_FILENO, &vector, 1, IPC_RWF_NOWAIT) }
                // A terminal, a file, and where a sandbox refuses the call.
                guard case .failure(let errno) = result, errno != .resourceTemporarilyUnavailable, errno != .brokenPipe
                else { return result }
                return retryingInterrupts { unsafe Glibc.write(STDOUT_FILENO, buffer.baseAddress, buffer.count) }
            }
            switch result {
            case .success(let count): return count
            case .failure(.resourceTemporarilyUnavailable):
                if Task.isCancelled { throw .cancelled("write", "standard output") }
                _ = try Readiness.writable.wait(for: STDOUT_FILENO, until: .after(.milliseconds(50)))
            case .failure(let errno): throw IPCError("write", "standard output", errno)
            }
        }
    }

    static func put(line: String) throws { try put(Array((line + "\n").utf8)) }
}

enum Hex {
    static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func bytes(_ text: [UInt8]) throws -> [UInt8] {
        let digits = text.filter { !" \t\r".utf8.contains($0) }
        let values = digits.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count % 2 == 0, !values.contains(nil) else {
            throw ValidationError(
                "'\(String(decoding: text, as: UTF8.self))' is no line of hexadecimal digits, two for each byte.")
        }
        return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0]! << 4 | values[$0 + 1]!) }
    }
}
