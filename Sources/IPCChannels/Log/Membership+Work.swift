import IPC

// What a job or a call does when it ends. Asked of the membership that it holds: the memory behind it would be retained for
// the time, since the job lets go of its membership meanwhile.
extension Membership {
    func tellOfDone() throws(IPCError) { try memory.tellOfDone() }
    func tellOfReturns() { memory.tellOfReturns() }
    func withdrawCall(_ word: SharedWord) { memory.withdrawCall(word) }
}
