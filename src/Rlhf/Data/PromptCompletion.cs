namespace Rlhf.Data;

/// <summary>A prompt and the completion to be learned; the loss counts the completion only.</summary>
/// <param name="Prompt">The beginning, which is given.</param>
/// <param name="Completion">What follows it, to be learned.</param>
public sealed record PromptCompletion(string Prompt, string Completion);
