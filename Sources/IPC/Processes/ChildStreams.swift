import Glibc
import SystemPackage

/// The pipes and other files that a child has as its standard streams: what it gets, and what this process keeps.
struct ChildStreams: ~Copyable, Sendable {
    /// What this process keeps, if a stream is a pipe.
    var input: PipeWriter?
    var output: PipeReader?
    var errors: PipeReader?

    // What only the child has once it runs.
    private var childInput: PipeReader?
    private var childOutput: PipeWriter?
    private var childErrors: PipeWriter?
    private var null: OwnedDescriptor?
    /// By their number in the child.
    private(set) var descriptors: [CInt: FileDescriptor]

    /// - Parameter descriptors: What the caller gives the child by number.
    /// - Throws: ``IPCError/Code/invalidArgument`` if one of them is asked for in two ways.
    init(
        _ program: String, _ standardInput: ChildProcess.StandardInput, _ standardOutput: ChildProcess.StandardOutput,
        _ standardError: ChildProcess.StandardError, _ descriptors: [CInt: FileDescriptor]
    ) throws(IPCError) {
        self.descriptors = descriptors
        let isAsked = [standardInput != .inherited, standardOutput != .inherited, standardError != .inherited]
        for (number, option) in ["standardInput", "standardOutput", "standardError"].enumerated()
        where isAsked[number] && descriptors[CInt(number)] != nil {
            throw IPCError(
                .invalidArgument, "start", program,
                advice: "descriptor \(number) is set by both descriptors: and \(option):; use one of them")
        }
        if standardInput == .empty || standardOutput == .discarded || standardError == .discarded { try openNull() }
        switch standardInput {
        case .inherited: break
        case .empty: self.descriptors[0] = null?.descriptor
        case .piped:
            let pipe = try AnonymousPipe()
            self.descriptors[0] = pipe.reader.descriptor
            childInput = consume pipe.reader
            input = consume pipe.writer
        }
        switch standardOutput {
        case .inherited: break
        case .discarded: self.descriptors[1] = null?.descriptor
        case .captured:
            let pipe = try AnonymousPipe()
            self.descriptors[1] = pipe.writer.descriptor
            output = consume pipe.reader
            childOutput = consume pipe.writer
        }
        switch standardError {
        case .inherited: break
        case .discarded: self.descriptors[2] = null?.descriptor
        case .merged:
            // Where this process has none, the child has none either.
            if let output = self.descriptors[1] {
                self.descriptors[2] = output
            } else if fcntl(1, F_GETFD) >= 0 {
                self.descriptors[2] = .standardOutput
            } else {
                try openNull()
                self.descriptors[2] = null?.descriptor
            }
        case .captured:
            let pipe = try AnonymousPipe()
            self.descriptors[2] = pipe.writer.descriptor
            errors = consume pipe.reader
            childErrors = consume pipe.writer
        }
    }

    private mutating func openNull() throws(IPCError) {
        guard null == nil else { return }
        null = OwnedDescriptor(adopting: try openFile("/dev/null", O_RDWR).orThrow("open", "/dev/null"))
    }
}
