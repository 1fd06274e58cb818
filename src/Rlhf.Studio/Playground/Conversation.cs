using Rlhf.Tokenizers.Chat;

namespace Rlhf.Studio.Playground;

/// <summary>What one model writes, as it comes.</summary>
/// <param name="side">Which model.</param>
public sealed class WrittenAnswer(Side side)
{
    private readonly List<TokenChosen> tokens = [];

    /// <summary>Which model.</summary>
    public Side Side => side;

    /// <summary>Its tokens so far.</summary>
    public IReadOnlyList<TokenChosen> Tokens => tokens;

    /// <summary>How many of the oldest messages of the conversation the model did not see.</summary>
    public int Forgotten { get; private set; }

    /// <summary>Lengths and scores; null: the answer is not whole.</summary>
    public Answered? Result { get; private set; }

    /// <summary>Its text so far.</summary>
    public string Text => string.Concat(tokens.Select(t => t.Text));

    /// <summary>Takes what happened to this answer.</summary>
    public void Take(AnswerEvent happened)
    {
        switch (happened)
        {
            case TokenChosen token:
                tokens.Add(token);
                break;
            case Forgotten forgotten:
                Forgotten = forgotten.Messages;
                break;
            case Answered answered:
                Result = answered;
                break;
        }
    }

    /// <summary>Two answers that are not begun, the base model's first.</summary>
    public static IReadOnlyList<WrittenAnswer> Both() => [new(Side.Base), new(Side.Aligned)];

    /// <summary>Gives an event to the answer that it happened to.</summary>
    /// <returns>False: it concerns both.</returns>
    public static bool Give(IReadOnlyList<WrittenAnswer> answers, AnswerEvent happened)
    {
        Side? side = happened switch { TokenChosen t => t.Side, Forgotten f => f.Side, Answered a => a.Side, _ => null };
        if (side is { } one)
            answers[(int)one].Take(happened);
        return side is not null;
    }
}

/// <summary>One message of the user and the models' answers to it.</summary>
/// <param name="Number">Its place in the conversation, from 1.</param>
/// <param name="Said">The message.</param>
/// <param name="Answers">The base model's answer, and the aligned model's.</param>
public sealed record ChatTurn(int Number, string Said, IReadOnlyList<WrittenAnswer> Answers);

/// <summary>A conversation with two models at once: both hear the same messages, and each remembers its own answers.</summary>
public sealed class Conversation
{
    private readonly List<ChatTurn> turns = [];

    /// <summary>The system message, which holds from the next answer on; blank: none.</summary>
    public string System { get; set; } = "";

    /// <summary>What has been said, the oldest first.</summary>
    public IReadOnlyList<ChatTurn> Turns => turns;

    /// <summary>Adds a message, which the models have not answered yet.</summary>
    public ChatTurn Say(string message)
    {
        ChatTurn turn = new(turns.Count + 1, message, WrittenAnswer.Both());
        turns.Add(turn);
        return turn;
    }

    /// <summary>Takes the last message back, with what was answered to it.</summary>
    /// <returns>The message; null: nothing has been said.</returns>
    public string? Withdraw()
    {
        if (turns.Count == 0)
            return null;
        string said = turns[^1].Said;
        turns.RemoveAt(turns.Count - 1);
        return said;
    }

    /// <summary>Begins again; the system message stays.</summary>
    public void Clear() => turns.Clear();

    /// <summary>The conversation with one of the models, up to the user's last message.</summary>
    public IReadOnlyList<ChatMessage> MessagesFor(Side side)
    {
        List<ChatMessage> messages = string.IsNullOrWhiteSpace(System) ? [] : [new("system", System.Trim())];
        foreach (var turn in turns)
        {
            messages.Add(new("user", turn.Said));
            if (turn != turns[^1])
                messages.Add(new("assistant", turn.Answers[(int)side].Text));
        }
        return messages;
    }
}
