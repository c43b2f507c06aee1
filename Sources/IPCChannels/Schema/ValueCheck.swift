/// A condition on one place of a message, needed for its bytes to be a value of its type.
struct ValueCheck {
    enum Kind {
        /// A number of `width` bytes is less than the limit: the case of an enumeration, or a `Bool`.
        case below(UInt64, width: Int)
        /// A `UInt32` is a Unicode scalar: no surrogate, and at most 0x10FFFF.
        case scalar
        /// The inner checks hold, unless the optional is nil.
        case optional(OptionalLayout)
        /// The inner checks hold for each element.
        case each(count: Int, stride: Int)
        /// A `UInt32` is at most the capacity, and so many bytes after it are UTF-8.
        case text(capacity: Int)
        /// A `UInt32` is at most the capacity, and the inner checks hold for so many elements from the offset on.
        case list(capacity: Int, offset: Int, stride: Int)
    }

    let kind: Kind
    /// The type at this place.
    let type: String
    /// Relative to the value, the optional, or the element that contains it.
    var offset = 0
    /// The path of fields from the same origin.
    var label = ""
    let inner: [ValueCheck]

    init(_ kind: Kind, _ type: String, _ inner: [ValueCheck] = []) {
        self.kind = kind
        self.type = type
        self.inner = inner
    }
}
