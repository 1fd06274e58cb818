namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What a template did wrong, as Python would class it.</summary>
internal enum JinjaFault
{
    /// <summary>The source is not a template.</summary>
    Syntax,

    /// <summary>The template itself refused, by raise_exception.</summary>
    Raised,

    /// <summary>An undefined value was used.</summary>
    Undefined,

    /// <summary>A value of the wrong type.</summary>
    Type,

    /// <summary>A value of the right type that cannot be used.</summary>
    Value,

    /// <summary>Something outside what a template may reach.</summary>
    Security,

    /// <summary>More work, memory or depth than a template is given.</summary>
    Limit,
}

/// <summary>A template that cannot be parsed or rendered.</summary>
internal sealed class JinjaException(string message, JinjaFault fault = JinjaFault.Value, int line = 0) : Exception(message)
{
    /// <summary>Why.</summary>
    public JinjaFault Fault { get; } = fault;

    /// <summary>Line of the template, from 1; 0 while it is not known.</summary>
    public int Line { get; set; } = line;

    public static JinjaException Type(string message) => new(message, JinjaFault.Type);

    public static JinjaException Syntax(string message, int line) => new(message, JinjaFault.Syntax, line);
}
