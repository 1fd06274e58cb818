namespace Rlhf.Serving;

/// <summary>Tokens that a request took.</summary>
internal sealed record TokenUsage(int PromptTokens, int CompletionTokens, int TotalTokens)
{
    public static TokenUsage Of(int prompt, int completion) => new(prompt, completion, prompt + completion);
}
