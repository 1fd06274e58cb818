namespace Rlhf.Runtime;

/// <summary>
/// What a model's matrices are kept as that are only read: the base of an adapter, or a model that answers. They are multiplied in float32,
/// each widened for as long as its product lasts; activations, normalizations, biases and whatever is trained are float32.
/// </summary>
public enum BaseStorage
{
    /// <summary>float32.</summary>
    Float32,

    /// <summary>bfloat16, two bytes a weight: weights that a file holds as bfloat16 are kept as they are.</summary>
    Bfloat16,

    /// <summary>
    /// int8 with one scale for each output, one byte a weight: w ≈ s · q with s = max |w| / 127 over an output's weights, q rounded to the
    /// nearest.
    /// </summary>
    Int8,
}
