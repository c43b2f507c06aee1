extension MessageSchema {
    /// The conditions under which the bytes of a message are a value. None if all bytes are.
    var checks: [ValueCheck] {
        switch self {
        case .bytes, .coded, .integer, .float, .opaque: []
        case .framed(let header): header.checks
        case .bool: [ValueCheck(.below(2, width: 1), name)]
        case .scalar: [ValueCheck(.scalar, name)]
        case .structure(let structure):
            structure.fields.flatMap { field in
                field.schema.checks.map { check in
                    var check = check
                    check.offset += field.offset
                    check.label = "." + field.name + check.label
                    return check
                }
            }
        case .array(let count, let element): Self.checks(count: count, element)
        case .enumeration(let enumeration):
            enumeration.byteCount == 0
                ? [] : [ValueCheck(.below(UInt64(enumeration.cases.count), width: enumeration.byteCount), name)]
        case .optional(let wrapped, let absence):
            [ValueCheck(.optional(OptionalLayout(absence, wrapped)), name, wrapped.checks)]
        case .text(let capacity): [ValueCheck(.text(capacity: capacity), name)]
        case .list(let capacity, let element):
            [
                ValueCheck(
                    .list(capacity: capacity, offset: Self.listOffset(element), stride: element.stride), name,
                    element.checks)
            ]
        }
    }
}

extension MessageSchema {
    private static func checks(count: Int, _ element: MessageSchema) -> [ValueCheck] {
        // Once: arrays may be nested deeply.
        let inner = count == 0 ? [] : element.checks
        return inner.isEmpty ? [] : [ValueCheck(.each(count: count, stride: element.stride), "", inner)]
    }
}

extension OptionalLayout {
    fileprivate init(_ absence: MessageSchema.Absence, _ wrapped: MessageSchema) {
        self =
            switch absence {
            case .pattern(let number, let byteCount, let offset): .inPayload(number, width: byteCount, offset: offset)
            case .byteAfterValue: .byteAfter(payload: wrapped.byteCount)
            }
    }
}
