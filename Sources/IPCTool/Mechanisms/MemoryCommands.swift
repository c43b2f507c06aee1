import ArgumentParser
import Glibc
import IPC
import SystemPackage

/// `ipc shm`: POSIX shared memory.
struct SharedMemoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shm", abstract: "Create, write, read, enlarge and remove POSIX shared memory.",
        discussion: """
            Examples:
              ipc shm create /frames --size 1048576
              echo hello | ipc shm write /frames --offset 64
              ipc shm read /frames --offset 64 --count 5
              ipc shm unlink /frames
            """,
        subcommands: [Create.self, Write.self, Read.self, Resize.self, Unlink.self])

    struct Create: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Create zero-filled shared memory.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "Size in bytes.", transform: Numbers.positive) var size: Int

        func perform() async throws { _ = try SharedMemory.create(object.name, byteCount: size) }
    }

    struct Write: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Write standard input into shared memory.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "Offset of the first byte. (default: 0)", transform: Numbers.count) var offset = 0

        func perform() async throws {
            let memory = try SharedMemory.open(object.name)
            let bytes = try await StandardInput.readToEnd()
            try MemoryBytes.write(bytes, at: offset, of: memory.byteCount, object.name, memory.descriptor)
        }
    }

    struct Read: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print bytes of shared memory, raw or as hexadecimal digits.")
        @OptionGroup var object: POSIXNameArgument
        @OptionGroup var range: MemoryBytes.RangeOptions

        func perform() async throws {
            let memory = try SharedMemory.open(object.name, access: .readOnly)
            try range.print(memory.byteCount, object.name, memory.descriptor)
        }
    }

    struct Resize: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Enlarge shared memory.",
            discussion:
                "It cannot shrink: processes that map it would be killed by SIGBUS. Create another object instead.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "New size in bytes.", transform: Numbers.positive) var size: Int

        func perform() async throws { try SharedMemory.open(object.name).grow(to: size) }
    }

    struct Unlink: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Remove the name. Processes that map it keep it.")
        @OptionGroup var object: POSIXNameArgument

        func perform() async throws { try SharedMemory.unlink(object.name) }
    }
}

/// `ipc mmap`: files, by mappings.
struct MappedFileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmap", abstract: "Read and write a file's bytes, as processes that map it see them.",
        discussion: """
            The command does not map the file: if a process truncated it, SIGBUS would end the command.

            Examples:
              ipc mmap read counters.bin --offset 8 --count 8 --hex
              echo 2a00 | xxd -r -p | ipc mmap write counters.bin --offset 8
            """,
        subcommands: [Read.self, Write.self])

    struct FileArgument: ParsableArguments {
        @Argument(help: "The file.") var path: String
    }

    struct Read: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print bytes of a file, raw or as hexadecimal digits.")
        @OptionGroup var file: FileArgument
        @OptionGroup var range: MemoryBytes.RangeOptions

        func perform() async throws {
            let mapped = try MappedFile.open(FilePath(file.path), access: .readOnly)
            try range.print(mapped.byteCount, file.path, mapped.descriptor)
        }
    }

    struct Write: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Write standard input into a file, and sync it to disk.")
        @OptionGroup var file: FileArgument
        @Option(help: "Offset of the first byte. (default: 0)", transform: Numbers.count) var offset = 0

        func perform() async throws {
            let bytes = try await StandardInput.readToEnd()
            let mapped = try MappedFile.open(FilePath(file.path))
            try MemoryBytes.write(bytes, at: offset, of: mapped.byteCount, file.path, mapped.descriptor)
            let raw = mapped.descriptor.rawValue
            _ = try retryingInterrupts { fsync(raw) }.orThrow("fsync", file.path)
        }
    }
}

/// Bytes of shared memory and of files, from and to standard streams.
///
/// They are read and written by their descriptor: those who map them see the same bytes, and whoever makes them shorter
/// meanwhile does not end this program by SIGBUS.
enum MemoryBytes {
    struct RangeOptions: ParsableArguments {
        @Option(help: "Offset of the first byte. (default: 0)", transform: Numbers.count) var offset = 0
        @Option(help: "Number of bytes. (default: all that follow)", transform: Numbers.count) var count: Int?
        @Flag(help: "Print hexadecimal digits.") var hex = false

        func print(_ size: Int, _ name: String, _ descriptor: FileDescriptor) throws {
            guard offset >= 0, offset <= size else { throw MemoryBytes.outside(offset, count ?? 0, size, name) }
            let count = count ?? (size - offset)
            guard count >= 0, count <= size - offset else { throw MemoryBytes.outside(offset, count, size, name) }
            // In parts: all of it may be more than this process has room for.
            var position = offset
            while position < offset + count {
                let bytes = try MemoryBytes.read(
                    descriptor, position, min(1 << 20, offset + count - position), size, name)
                try MessageOutput.put(hex ? Array(bytes.hexadecimal.utf8) : bytes)
                position += bytes.count
            }
            if hex, count > 0 { try MessageOutput.put(line: "") }
        }
    }

    static func write(
        _ bytes: [UInt8], at offset: Int, of size: Int, _ name: String, _ descriptor: FileDescriptor
    ) throws(IPCError) {
        guard offset >= 0, offset <= size, bytes.count <= size - offset else {
            throw outside(offset, bytes.count, size, name)
        }
        do { try descriptor.writeAll(toAbsoluteOffset: Int64(offset), bytes) } catch {
            throw IPCError("write", name, error as? Errno ?? .ioError)
        }
    }

    private static func read(
        _ descriptor: FileDescriptor, _ position: Int, _ count: Int, _ size: Int, _ name: String
    ) throws(IPCError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let raw = descriptor.rawValue
        let got = try retryingInterrupts { unsafe pread(raw, &bytes, count, off_t(position)) }.orThrow("read", name)
        guard got > 0 else {
            throw IPCError(
                .endOfFile, "read", name,
                advice:
                    "it ends at byte \(position), and had \(size) bytes: a process truncated it; read it again")
        }
        return Array(bytes[..<got])
    }

    private static func outside(_ offset: Int, _ count: Int, _ size: Int, _ name: String) -> IPCError {
        IPCError(
            .invalidArgument, "access", name,
            advice:
                "\(count) bytes at offset \(offset) are beyond its \(size) bytes; enlarge it, or choose other bytes")
    }
}
