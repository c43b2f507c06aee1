/// Process groups that children lead.
package enum ProcessGroups {
    /// Ends children, and the processes in the groups that they lead: by SIGTERM, and by SIGKILL what is left after the grace
    /// period. They are not waited for, so that their numbers mean them until the caller has done that.
    package static func end(_ children: [SharedReference<ChildProcess>], _ grace: Duration) async {
        let deadline = Deadline.after(grace)
        let groups = Set(children.filter { $0.value.leadsGroup }.map { $0.value.handle.identifier })
        // What is stopped takes SIGTERM when it goes on.
        for signal in [Signal.terminate, .continue] { for child in children { child.value.sendToAll(signal) } }
        for child in children { await waitForExit(of: child, until: deadline) }
        while !groups.isEmpty, haveLivingMembers(groups), !deadline.hasPassed {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { break }
        }
        for child in children { child.value.sendToAll(.kill) }
        // A process in the middle of a system call that cannot be interrupted, such as one on a dead network disk, is left.
        for child in children { await waitForExit(of: child, until: .after(.seconds(5))) }
    }

    private static func waitForExit(of child: SharedReference<ChildProcess>, until deadline: Deadline) async {
        // At the deadline, it is killed.
        do throws(IPCError) { try await child.value.handle.waitForExit(until: deadline) } catch { return }
    }
}
