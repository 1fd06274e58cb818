using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary>What requests may ask for, beyond what the model can do.</summary>
internal sealed record ServingLimits
{
    /// <summary>Most tokens of a prompt; null: as many as the model reads.</summary>
    public int? MaxPromptTokens { get; init; }

    /// <summary>Most tokens of an answer; null: as many as the model has room for.</summary>
    public int? MaxNewTokens { get; init; }

    /// <summary>Refuses an answer that is too long.</summary>
    /// <param name="tokens">The tokens that are asked for; null: nothing is said.</param>
    /// <param name="field">The field that says it.</param>
    public void CheckNew(int? tokens, string field)
    {
        if (tokens > MaxNewTokens)
            throw new RequestException($"{field} is {tokens}; this server writes at most {MaxNewTokens} tokens of an answer.", field);
    }

    /// <summary>Refuses more texts than can ever be written and wait at a time.</summary>
    /// <param name="texts">Texts that are asked for.</param>
    /// <param name="completer">What writes them.</param>
    public static void CheckTexts(long texts, TextCompleter completer)
    {
        if (texts > completer.MostTexts)
            throw new RequestException($"n asks for {texts:N0} texts, of all prompts together; this server takes at most {completer.MostTexts:N0} at a time.", "n");
    }

    /// <summary>Refuses a prompt that is too long.</summary>
    /// <param name="tokens">Its tokens.</param>
    /// <param name="field">The field that holds it.</param>
    public void CheckPrompt(int tokens, string field)
    {
        if (tokens > MaxPromptTokens)
            throw new RequestException($"{field} has {tokens:N0} tokens; this server reads at most {MaxPromptTokens:N0}.", field)
            {
                Code = "context_length_exceeded",
            };
    }
}
