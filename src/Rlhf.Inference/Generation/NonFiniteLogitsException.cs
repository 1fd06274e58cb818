namespace Rlhf.Generation;

/// <summary>A model's logits hold NaN or infinity, so that no token can be chosen: its weights are damaged.</summary>
/// <param name="message">Names row and token.</param>
public sealed class NonFiniteLogitsException(string message) : ArithmeticException(message);
