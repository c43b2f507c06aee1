import IPC
import IPCChannels

/// What keeps those waiting who use a channel: for `ipc doctor`.
enum ChannelFindings {
    static func all(_ channel: ChannelDescription) -> [DoctorCommand.Finding] {
        let living = channel.participants.filter(\.isAlive)
        var findings = Set(living.map(\.process)).sorted().compactMap { stopped(channel, $0) }
        findings += living.compactMap { behind(channel, $0) }
        if !living.contains(where: { $0.role != .writer }), let missing = missing(channel, hasCallers: !living.isEmpty)
        {
            findings.append(missing)
        }
        return findings
    }

    private static func finding(
        _ channel: ChannelDescription, _ value: String, _ meaning: String, _ advice: String
    ) -> DoctorCommand.Finding {
        DoctorCommand.Finding(name: "\(channel.name)", value: value, meaning: meaning, advice: advice, label: "bad")
    }

    private static func stopped(_ channel: ChannelDescription, _ process: Int32) -> DoctorCommand.Finding? {
        guard ProcFiles.isStopped(process) else { return nil }
        return finding(
            channel, ProcFiles.description(process), "a stopped participant keeps what it holds",
            "kill -CONT \(process) resumes it; kill -KILL \(process) ends it, and the others continue without it")
    }

    /// A writer may need much room at once: not only a log that is full to the last byte is meant.
    private static func behind(
        _ channel: ChannelDescription, _ participant: ChannelDescription.Participant
    ) -> DoctorCommand.Finding? {
        let capacity = channel.attributes.capacity
        guard let backlog = participant.backlog, backlog >= capacity / 4 * 3 else { return nil }
        return finding(
            channel, "\(Table.size(backlog)) of \(Table.size(capacity)) not read",
            "publishers wait for a subscriber that is a whole log behind",
            "\(ProcFiles.description(participant.process)) is behind; end it, or create the topic with a larger log (--capacity)"
        )
    }

    /// Nobody takes what is sent.
    private static func missing(_ channel: ChannelDescription, hasCallers: Bool) -> DoctorCommand.Finding? {
        let name = "\(channel.name)"
        switch channel.pattern {
        // Dead letters wait for somebody to look at them.
        case .workQueue where !name.hasSuffix("/dead-letters"):
            guard channel.messageCount > channel.takenCount, hasDueJobs(name) else { return nil }
            return finding(
                channel, "\(channel.messageCount - channel.takenCount) waiting", "a queue with due jobs and no worker",
                "start a worker: ipc queue work \(name)")
        case .service where hasCallers || channel.messageCount > 0:
            return finding(
                channel, "no server", "callers wait, and the service has no server",
                "start a server; to serve with a command: ipc service serve \(name) -- COMMAND")
        default: return nil
        }
    }

    /// Jobs for later need no worker yet.
    private static func hasDueJobs(_ name: String) -> Bool {
        let jobs = (try? AnyChannel.open(name).workQueue.browse(limit: 1024)) ?? []
        return jobs.contains { $0.worker == nil && $0.dueIn == nil }
    }
}
