extension MessageSchema {
    /// The first difference between what a channel carries and what a program has, as the end of a sentence; nil if there is none.
    ///
    /// - Parameter path: Where it is; empty for the whole message.
    static func difference(_ channel: MessageSchema, _ program: MessageSchema, _ path: String = "") -> String? {
        let place = path.isEmpty ? "it" : path
        switch (channel, program) {
        case (.structure(let channel), .structure(let program)): return difference(channel, program, path)
        case (.enumeration(let channel), .enumeration(let program)): return difference(channel, program, place)
        case (.framed(let channel), .framed(let program)):
            return difference(channel, program, path).map { "its header: " + $0 }
        case (.array(let count, let element), .array(let wanted, let other)):
            guard count == wanted else { return "\(place) has \(count) elements, and \(wanted) in this program" }
            return difference(element, other, path + "[]")
        case (.list(let capacity, let element), .list(let wanted, let other)):
            guard capacity == wanted else {
                return "\(place) has room for \(capacity) elements, and for \(wanted) in this program"
            }
            return difference(element, other, path + "[]")
        case (.optional(let wrapped, let absence), .optional(let other, let wanted)):
            if let found = difference(wrapped, other, path) { return found }
            return absence == wanted ? nil : "\(place) marks none in another way"
        default:
            return channel == program ? nil : "\(place) is \(channel.name), and \(program.name) in this program"
        }
    }

    /// The fields that this schema has after all those of another one, which are at the same places; nil if that one is no prefix.
    func fields(after prefix: MessageSchema) -> [Field]? {
        guard case .structure(let all) = self, case .structure(let some) = prefix, all.name == some.name,
            some.byteCount <= all.byteCount, some.fields.count <= all.fields.count,
            zip(all.fields, some.fields).allSatisfy({ one, other in
                one.name == other.name && one.offset == other.offset
                    && Self.difference(one.schema, other.schema, one.name) == nil
            })
        else { return nil }
        return Array(all.fields.dropFirst(some.fields.count))
    }

    private static func difference(_ channel: Structure, _ program: Structure, _ path: String) -> String? {
        if path.isEmpty, channel.name != program.name {
            return "it is named \(channel.name), and \(program.name) in this program"
        }
        for (index, field) in channel.fields.enumerated() {
            let fieldPath = path.isEmpty ? field.name : path + "." + field.name
            guard index < program.fields.count else {
                return "it has the field \(fieldPath), which this program does not"
            }
            let other = program.fields[index]
            guard field.name == other.name else {
                return "its field \(index + 1) is \(fieldPath), and \(other.name) in this program"
            }
            if let found = difference(field.schema, other.schema, fieldPath) { return found }
            guard field.offset == other.offset else {
                return "\(fieldPath) is at byte \(field.offset), and at byte \(other.offset) in this program"
            }
        }
        if program.fields.count > channel.fields.count {
            return "it does not have the field \(program.fields[channel.fields.count].name) of this program"
        }
        guard channel.byteCount == program.byteCount, channel.alignment == program.alignment else {
            let place = path.isEmpty ? "it" : path
            return
                "\(place) has \(channel.byteCount) bytes with the alignment \(channel.alignment), and \(program.byteCount) with \(program.alignment) in this program"
        }
        return nil
    }

    private static func difference(_ channel: Enumeration, _ program: Enumeration, _ place: String) -> String? {
        guard channel.cases != program.cases else {
            return place == "it" && channel.name != program.name
                ? "it is named \(channel.name), and \(program.name) in this program" : nil
        }
        func list(_ enumeration: Enumeration) -> String {
            let shown = enumeration.cases.prefix(16).map(\.shown).joined(separator: ", ")
            return "\(enumeration.cases.count) cases (\(shown)\(enumeration.cases.count > 16 ? ", …" : ""))"
        }
        return "\(place) has \(list(channel)), and \(list(program)) in this program"
    }
}

extension MessageSchema.Case {
    fileprivate var shown: String {
        switch rawValue {
        case nil: name
        case .number(let digits): "\(name) = \(digits)"
        case .text(let text): "\(name) = \"\(text)\""
        }
    }
}
