import Glibc
import IPC

/// The commands that serve connections, one at a time. All of them, and the processes that they started, end with this object.
actor ConnectionCommands {
    private let script: String
    private let guardian: ProcessGuardian
    /// Those that have ended and left others of their group. They are not waited for, so that their groups' numbers stay theirs.
    private var lingering: [SharedReference<ChildProcess>] = []

    private static let gracePeriod = Duration.seconds(2)

    init(_ script: String) throws(IPCError) {
        self.script = script
        guardian = try ProcessGuardian()
    }

    /// Gives a connection to the command, as its standard input and output, and waits for its end.
    ///
    /// - Throws: `childFailed` if it cannot be started; `cancelled` if the task was, and then it has been ended.
    func run(_ connection: SharedReference<StreamSocket>) async throws(IPCError) {
        reapLingering()
        let descriptor = connection.value.descriptor
        let child = SharedReference(
            try ChildProcess(
                "/bin/sh", ["-c", script], environment: .inherited, workingDirectory: nil,
                standardError: .inherited, descriptors: [0: descriptor, 1: descriptor], processGroup: .new,
                guardian: guardian))
        lingering.append(child)
        try await child.value.handle.waitForExit()
        if let status = try child.value.tryPeek(), !status.isSuccess { printError("ipc: \(script): \(status)") }
        reapLingering()
    }

    /// Ends all that still runs.
    func end() async {
        reapLingering()
        let children = lingering
        guard !children.isEmpty else { return }
        // In a task of its own, which is not cancelled, so that it can wait.
        await Task.detached { await ProcessGroups.end(children, Self.gracePeriod) }.value
        for child in children { guardian.forget(child.value.handle.identifier) }
        lingering = []
    }

    /// Waits for those of whose groups nobody lives.
    private func reapLingering() {
        lingering.removeAll { child in
            let group = child.value.handle.identifier
            guard !child.value.handle.isAlive, !ProcessGroups.haveLivingMembers([group]) else { return false }
            guardian.forget(group)
            // Has ended, so this waits for nothing; where its status is lost, there is nothing to take.
            _ = try? child.value.tryWait()
            return true
        }
    }
}
