namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What a token is. Operators and brackets are <see cref="Operator"/> with their text.</summary>
internal enum JinjaTokenKind
{
    Data,
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <summary>A piece of a template.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text; of a string what it means.</param>
/// <param name="Value">Of a number, its value.</param>
/// <param name="Line">Line of the template, from 1.</param>
internal readonly record struct JinjaToken(JinjaTokenKind Kind, string Text, object? Value, int Line)
{
    public bool IsName(string name) => Kind == JinjaTokenKind.Name && Text == name;

    public bool Is(string operation) => Kind == JinjaTokenKind.Operator && Text == operation;

    /// <summary>How messages name it.</summary>
    public string Description => Kind switch
    {
        JinjaTokenKind.BlockEnd => "end of statement block",
        JinjaTokenKind.PrintEnd => "end of print statement",
        JinjaTokenKind.BlockBegin => "begin of statement block",
        JinjaTokenKind.PrintBegin => "begin of print statement",
        JinjaTokenKind.Data => "template data / text",
        JinjaTokenKind.End => "end of template",
        JinjaTokenKind.Integer => "integer",
        JinjaTokenKind.Float => "float",
        JinjaTokenKind.String => "string",
        _ => Text,
    };
}
