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
        case .lengthPrefixed: "Each message follows its length: four bytes, big-endian."
        case .hex: "Each message is a line of hexadecimal digits."
        case .whole: "The whole input is one message; messages are printed without separators."
        }
    }
}

struct FramingOption: ParsableArguments {
    @Flag var framing = Framing.lines

    /// The flag that asks for it.
    private var flag: String {
        switch framing {
        case .lines: "--lines"
        case .lengthPrefixed: "--length-prefixed"
        case .hex: "--hex"
        case .whole: "--whole"
        }
    }

    /// Of a command that sends: arguments are messages as they are, or as hexadecimal digits.
    func checkArguments(_ arguments: [String]) throws {
        guard let first = arguments.first, framing == .whole || framing == .lengthPrefixed else { return }
        throw ValidationError(
            "\(flag) is for standard input, and messages are given as arguments (\"\(first)\"); leave one of them out."
        )
    }

    /// Of a command that prints: JSON has a line for each message, whatever is in it.
    func check(_ format: FormatOption) throws {
        guard format.format == .json, framing != .lines else { return }
        throw ValidationError(
            "--format json prints each message as a line of JSON, so \(flag) has no effect; leave one of them out.")
    }
}

extension Framing {
    /// A message as it is printed, and given to a command.
    func framed(_ message: [UInt8]) -> [UInt8] {
        switch self {
        case .lines: return message + [UInt8(ascii: "\n")]
        case .hex: return Array((message.hexadecimal + "\n").utf8)
        case .lengthPrefixed:
            let length = UInt32(message.count)
            return (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
        case .whole: return message
        }
    }
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
    private var pending = PendingBytes()
    private var isAtEnd = false
    /// Of an input that is one message: whether that was handed over.
    private var isTaken = false

    init(_ framing: Framing) { self.framing = framing }

    /// The next message; nil at the end.
    mutating func next() async throws -> [UInt8]? {
        while true {
            if let message = try cut() { return message }
            if isAtEnd { return nil }
            append(try await StandardInput.read())
        }
    }

    /// - Parameter more: What came; nothing at the end.
    mutating func append(_ more: [UInt8]) {
        isAtEnd = more.isEmpty
        pending.append(more)
    }

    /// The next message, if all of it has come.
    mutating func cut() throws -> [UInt8]? {
        switch framing {
        case .lines, .hex:
            let newline = pending.newline()
            guard (newline ?? pending.count) <= Self.lineLimit else {
                throw IPCError(
                    .messageTooLarge, "read", "standard input",
                    advice: "a line is longer than \(Self.lineLimit) bytes; "
                        + "use --length-prefixed or --whole for longer messages")
            }
            guard let count = newline ?? (isAtEnd && pending.count > 0 ? pending.count : nil) else { return nil }
            let line = pending.take(count)
            if newline != nil { pending.drop(1) }
            return framing == .hex ? try Hex.bytes(line) : line
        case .lengthPrefixed:
            guard let length = pending.length else {
                if isAtEnd, pending.count > 0 { throw ValidationError("the input ends in the middle of a length.") }
                return nil
            }
            guard pending.count - 4 >= length else {
                if isAtEnd { throw ValidationError("the input ends in the middle of a message of \(length) bytes.") }
                return nil
            }
            pending.drop(4)
            return pending.take(length)
        case .whole:
            // An empty input is an empty message, once.
            guard isAtEnd, !isTaken else { return nil }
            isTaken = true
            return pending.take(pending.count)
        }
    }
}

enum StandardInput {
    /// What comes next; empty at the end.
    static func read() async throws(IPCError) -> [UInt8] {
        while true {
            try await Reactor.wait(for: .readable, of: STDIN_FILENO, until: .never, "read", "standard input")
            var chunk = [UInt8](repeating: 0, count: 65_536)
            // Another process that shares it may have been faster: this one does not wait then, but goes on being interruptible.
            let result = unsafe chunk.withUnsafeMutableBytes { bytes in
                var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                // Of a file, it would be refused for as long as nobody reads it from the disk.
                if (try? FileStatus(of: STDIN_FILENO, "standard input"))?.isRegularFile != true {
                    let result = systemCall { unsafe ipc_preadv2(STDIN_FILENO, &vector, 1, IPC_RWF_NOWAIT) }
                    // A terminal, a named pipe, and where a sandbox refuses the call.
                    guard case .failure(let errno) = result, errno.isRefusedFlag else { return result }
                }
                return systemCall { unsafe Glibc.read(STDIN_FILENO, bytes.baseAddress, bytes.count) }
            }
            switch result {
            case .success(let count): return Array(chunk[..<count])
            case .failure(.interrupted), .failure(.resourceTemporarilyUnavailable): continue
            case .failure(let errno): throw IPCError("read", "standard input", errno)
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

    func write(_ message: [UInt8]) throws { try Self.put(framing.framed(message)) }

    /// Who reads no more ends this program by SIGPIPE, as it ends `cat`. Who reads nothing does not keep it from ending in order:
    /// the wait for room in a pipe ends when the task is cancelled.
    ///
    /// - Parameter grace: How long a message of which a part is written may take until all of it is, once the task is cancelled.
    static func put(_ bytes: [UInt8], grace: Duration = .zero) throws(IPCError) {
        var start = 0
        var end: Deadline?
        while start < bytes.count {
            start += try put(bytes[start...]) {
                guard Task.isCancelled else { return false }
                let last = end ?? (start > 0 ? .after(grace) : .immediate)
                end = last
                return last.hasPassed
            }
        }
    }

    private static func put(_ bytes: ArraySlice<UInt8>, unless isOver: () -> Bool) throws(IPCError) -> Int {
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
                if isOver() { throw .cancelled("write", "standard output") }
                _ = try Readiness.writable.wait(for: STDOUT_FILENO, until: .after(.milliseconds(50)))
            case .failure(let errno): throw IPCError("write", "standard output", errno)
            }
        }
    }

    static func put(line: String, grace: Duration = .zero) throws(IPCError) {
        try put(Array((line + "\n").utf8), grace: grace)
    }
}

enum Hex {
    /// The bytes of a line of digits, with blanks between them or none.
    static func bytes(_ text: [UInt8]) throws -> [UInt8] {
        let digits = text.filter { !" \t\r".utf8.contains($0) }
        // Each byte by itself: a line may be anything.
        guard let bytes = [UInt8](hexadecimal: String(String.UnicodeScalarView(digits.map { UnicodeScalar($0) })))
        else {
            throw ValidationError(
                "'\(String(decoding: text, as: UTF8.self))' is not a line of hexadecimal digits, two for each byte.")
        }
        return bytes
    }
}
