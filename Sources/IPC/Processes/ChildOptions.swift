import Glibc

// How programs are started: what a ``ChildProcess`` and the stages of a ``Pipeline`` have in common.

extension ChildProcess {
    /// The variables that a child has.
    public enum Environment: Hashable, Sendable {
        /// This process's own.
        case inherited
        /// This process's own, with other values for these variables. One of value nil is left out.
        case changing([String: String?])
        /// These, and no others.
        case only([String: String])
    }

    /// What a child reads on descriptor 0.
    public enum StandardInput: Hashable, Sendable {
        /// What this process reads.
        case inherited
        /// Nothing: the end of the stream (`/dev/null`).
        case empty
        /// What is written to a pipe: see ``ChildProcess/takeStandardInput()``.
        case piped
    }

    /// Where a child writes on descriptor 1.
    public enum StandardOutput: Hashable, Sendable {
        /// Where this process writes.
        case inherited
        /// Nowhere (`/dev/null`).
        case discarded
        /// To a pipe: see ``ChildProcess/takeStandardOutput()``.
        case captured
    }

    /// Where a child writes on descriptor 2.
    public enum StandardError: Hashable, Sendable {
        /// Where this process writes its own.
        case inherited
        /// Where it writes its standard output, in the order of the writes.
        case merged
        /// Nowhere (`/dev/null`).
        case discarded
        /// To a pipe: see ``ChildProcess/takeStandardError()``, and ``Pipeline/Result/errors``.
        case captured
    }

    /// Which process group a child is in: what the terminal's Ctrl-C, and ``ChildProcess/sendToGroup(_:)``, reach at once.
    public enum ProcessGroup: Hashable, Sendable {
        /// This process's own: Ctrl-C reaches both.
        case inherited
        /// A new one that it leads: it, and the children that it has. They can be ended together. Ctrl-C does not reach it, and
        /// reading from the terminal stops it (SIGTTIN).
        case new
        /// That of a process that leads one in the same session.
        case joining(pid_t)
    }
}

extension ChildProcess.Environment {
    /// The variables that are set or removed, each checked.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` for a name that is empty or has a `=`.
    func check(_ program: String) throws(IPCError) {
        let names =
            switch self {
            case .inherited: [String]()
            case .changing(let variables): Array(variables.keys)
            case .only(let variables): Array(variables.keys)
            }
        guard let wrong = names.first(where: { $0.isEmpty || $0.contains("=") }) else { return }
        throw IPCError(
            .invalidArgument, "start", program,
            advice:
                "\(wrong.debugDescription) cannot name an environment variable: it is empty, or contains =; choose another name"
        )
    }

    /// `NAME=value` strings to be set.
    var entries: [String] {
        switch self {
        case .inherited: []
        case .changing(let variables): variables.compactMap { name, value in value.map { "\(name)=\($0)" } }
        case .only(let variables): variables.map { "\($0)=\($1)" }
        }
    }
}
