import ArgumentParser
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
        static let configuration = CommandConfiguration(abstract: "Make an object of zeros.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "Bytes.") var size: Int

        func perform() async throws { _ = try SharedMemory.create(object.name, byteCount: size) }
    }

    struct Write: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Write standard input into it.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "Where it begins.") var offset = 0

        func perform() async throws {
            let memory = try SharedMemory.open(object.name)
            let bytes = try await StandardInput.readToEnd()
            try MemoryBytes.write(bytes, at: offset, of: memory.byteCount, object.name) { () throws(IPCError) in
                try memory.map()
            }
        }
    }

    struct Read: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print its bytes as they are, or in hexadecimal digits.")
        @OptionGroup var object: POSIXNameArgument
        @OptionGroup var range: MemoryBytes.RangeOptions

        func perform() async throws {
            let memory = try SharedMemory.open(object.name, access: .readOnly)
            try range.print(memory.byteCount, object.name) { () throws(IPCError) in try memory.map() }
        }
    }

    struct Resize: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Enlarge it.",
            discussion:
                "It is never made smaller: who has it mapped would be killed by SIGBUS. Make another one for that.")
        @OptionGroup var object: POSIXNameArgument
        @Option(help: "Bytes.") var size: Int

        func perform() async throws { try SharedMemory.open(object.name).grow(to: size) }
    }

    struct Unlink: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Remove the name. Who has it mapped goes on.")
        @OptionGroup var object: POSIXNameArgument

        func perform() async throws { try SharedMemory.unlink(object.name) }
    }
}

/// `ipc mmap`: files, by mappings.
struct MappedFileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmap", abstract: "Read and write a file through a mapping.",
        discussion: """
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
            abstract: "Print its bytes as they are, or in hexadecimal digits.")
        @OptionGroup var file: FileArgument
        @OptionGroup var range: MemoryBytes.RangeOptions

        func perform() async throws {
            let mapped = try MappedFile.open(FilePath(file.path))
            try range.print(mapped.byteCount, file.path) { () throws(IPCError) in try mapped.map() }
        }
    }

    struct Write: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Write standard input into it, and wait for the disk.")
        @OptionGroup var file: FileArgument
        @Option(help: "Where it begins.") var offset = 0

        func perform() async throws {
            let bytes = try await StandardInput.readToEnd()
            let mapped = try MappedFile.open(FilePath(file.path), access: .readWrite)
            try MemoryBytes.write(bytes, at: offset, of: mapped.byteCount, file.path) { () throws(IPCError) in
                try mapped.map()
            }?.sync()
        }
    }
}

/// Bytes in a mapping, from and to standard streams.
enum MemoryBytes {
    struct RangeOptions: ParsableArguments {
        @Option(help: "Where it begins.") var offset = 0
        @Option(help: "How many bytes; all that follow by default.") var count: Int?
        @Flag(help: "Print hexadecimal digits.") var hex = false

        func print(_ size: Int, _ name: String, _ map: () throws(IPCError) -> MemoryMapping) throws {
            let count = count ?? max(size - offset, 0)
            try check(offset, count, size, name)
            guard count > 0 else { return }
            let bytes = try map().withBytes { $0.extracting(offset..<offset + count).array }
            try hex ? MessageOutput.put(line: Hex.text(bytes)) : MessageOutput.put(bytes)
        }
    }

    /// - Returns: The mapping; nil if there was nothing to write.
    @discardableResult
    static func write(
        _ bytes: [UInt8], at offset: Int, of size: Int, _ name: String, _ map: () throws(IPCError) -> MemoryMapping
    ) throws(IPCError) -> MemoryMapping? {
        try check(offset, bytes.count, size, name)
        guard !bytes.isEmpty else { return nil }
        let mapping = try map()
        mapping.withMutableBytes { target in
            for (index, byte) in bytes.enumerated() {
                target.storeBytes(of: byte, toByteOffset: offset + index, as: UInt8.self)
            }
        }
        return mapping
    }

    private static func check(_ offset: Int, _ count: Int, _ size: Int, _ name: String) throws(IPCError) {
        guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
            throw IPCError(
                .invalidArgument, "access", name,
                advice:
                    "bytes \(offset) to \(offset &+ count) are not all in its \(size) bytes; enlarge it, or choose others"
            )
        }
    }
}
