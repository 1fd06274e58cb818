namespace Rlhf.Generation;

/// <summary>A conversation and its answer have more tokens than the model reads. The message is one sentence.</summary>
public sealed class ChatTooLongException(string message) : ArgumentException(message);
