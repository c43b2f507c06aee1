import Glibc
import IPC

@_silgen_name("fork") private func forkWithoutExec() -> pid_t

/// What a victim does to itself after some items: it forks, or becomes another program, in the middle of whatever it has.
final class Fate: @unchecked Sendable {
    // `@unchecked`: one task's.
    private let death: Death
    private let index: Int
    private let ledger: Ledger
    private var rest: Int
    /// Whether we are a copy by `fork`, that has no part in the channel.
    private(set) var isForkedChild = false

    init(_ death: Death, _ index: Int, _ ledger: Ledger) {
        self.death = death
        self.index = index
        self.ledger = ledger
        rest =
            switch death {
            case .fork(let items), .forkLettingGo(let items), .exec(let items): items
            default: .max
            }
    }

    /// Called where it has a claim, a job or a call in hand.
    ///
    /// - Throws: In a child that is to let go of all that it has copies of.
    func reach() throws(IPCError) {
        guard rest < .max else { return }
        rest -= 1
        guard rest <= 0 else { return }
        rest = .max
        switch death {
        case .fork: try fork(lettingGo: false)
        case .forkLettingGo: try fork(lettingGo: true)
        case .exec: exec()
        default: break
        }
    }

    private func fork(lettingGo: Bool) throws(IPCError) {
        let child = forkWithoutExec()
        if child == 0 {
            alarm(2)  // whatever happens
            isForkedChild = true
            guard lettingGo else { while true { Glibc.pause() } }
            throw IPCError(.cancelled, "fork", "child", advice: "lets go of its parent's participants")
        }
        ledger.count(index, .forks)
        if child > 0, !lettingGo { kill(getpid(), SIGKILL) }
    }

    private func exec() {
        ledger.count(index, .execs)
        ledger[index, .state] = Ledger.State.isAnotherProgram.rawValue
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("2"), nil]
        execv("/bin/sleep", &arguments)
        _exit(1)
    }
}
