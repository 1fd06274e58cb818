using Rlhf.Runtime.Text;
using Rlhf.Tokenizers.Chat.Jinja;

namespace Rlhf.Tokenizers.Chat;

/// <summary>A chat template that is missing, is not a template, or refuses a conversation. The message is one sentence.</summary>
public sealed class ChatTemplateException : Exception
{
    /// <param name="message">One sentence: what, where, what to do.</param>
    public ChatTemplateException(string message)
        : this(message, null, 0, false)
    {
    }

    private ChatTemplateException(string message, string? reason, int line, bool isRefusal)
        : base(message) => (Reason, Line, IsRefusal) = (reason ?? message, line, isRefusal);

    /// <summary>What went wrong, without where. Of a refusal, the template's own words.</summary>
    public string Reason { get; }

    /// <summary>The line of the template, from 1; 0 where no line is to blame.</summary>
    public int Line { get; }

    /// <summary>The template itself refused the conversation (<c>raise_exception</c>).</summary>
    public bool IsRefusal { get; }

    internal static ChatTemplateException At(string template, JinjaException error)
    {
        bool refused = error.Fault == JinjaFault.Raised;
        var line = error.Line > 0 ? $", line {error.Line}" : "";
        var reason = UntrustedText.Clean(error.Message);
        return new($"{template}{line}: {(refused ? $"it refuses this conversation: {reason}" : reason)}{(reason.EndsWith('.') ? "" : ".")}",
            error.Message, error.Line, refused);
    }
}
