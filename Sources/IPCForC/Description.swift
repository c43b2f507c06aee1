import IPCChannels

extension ChannelDescription {
    /// On one line.
    var json: String {
        let people = participants.map { participant in
            let role =
                switch participant.role {
                case .reader: "reader"
                case .writer: "writer"
                case .guest: "guest"
                }
            let backlog = participant.backlog.map { ",\"backlog\":\($0)" } ?? ""
            return #"{"role":"\#(role)","process":\#(participant.process),"alive":\#(participant.isAlive)\#(backlog)}"#
        }
        return """
            {"name":"\(name)","pattern":"\(pattern)","messages":\(messageCount),"taken":\(takenCount),\
            "published":\(publishedCount),"participants":[\(people.joined(separator: ","))]}
            """
    }
}
