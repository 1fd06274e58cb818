using System.ComponentModel;
using System.Globalization;
using System.Reflection;
using System.Text;

namespace Rlhf.Cli.Settings;

/// <summary>What a value stands for, as help shows it: DIR, FILE, TOKENS, …</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ValueNameAttribute(string name) : Attribute
{
    public string Name { get; } = name;
}

/// <summary>What the flag means on its own; a value may follow it.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class BareValueAttribute(string value) : Attribute
{
    public string Value { get; } = value;
}

/// <summary>
/// The flag may be given several times, and a settings file may give a list. The property holds the values in their order, one a line
/// (<see cref="Separator"/>), of which none can hold a line break.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class RepeatedAttribute : Attribute
{
    public const char Separator = '\n';

    /// <summary>The values; none where nothing is set.</summary>
    public static string[] Split(string? value) => value?.Split(Separator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
}

/// <summary>The setting is of this call of the command alone, not of what is trained: config.yaml does not hold it.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class NotRecordedAttribute : Attribute;

/// <summary>The value names something that must be there before any work starts.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal abstract class InputAttribute : Attribute
{
    /// <summary>What is wrong with a value: sentences to which the flag is put in front.</summary>
    public abstract IEnumerable<string> Problems(string value);
}

/// <summary>One property of a settings record: a flag on the command line and a key in a configuration file.</summary>
internal sealed class Setting
{
    public Setting(string section, PropertyInfo property, object? defaultValue)
    {
        (Section, Property, Default) = (section, property, defaultValue);
        var words = Words(property.Name);
        Flag = "--" + string.Join('-', words);
        Key = string.Join('_', words);
        Help = property.GetCustomAttribute<DescriptionAttribute>()?.Description ?? "";
        Input = property.GetCustomAttribute<InputAttribute>();
        IsRepeated = property.IsDefined(typeof(RepeatedAttribute));
        ValueType = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        AllowsNone = !property.PropertyType.IsValueType || ValueType != property.PropertyType;
        if (!SettingValue.IsSupported(ValueType))
            throw new NotSupportedException(
                $"{property.DeclaringType?.Name}.{property.Name} is a {ValueType.Name}, which no flag can hold.");
        string? bare = property.GetCustomAttribute<BareValueAttribute>()?.Value;
        BareValue = IsSwitch ? "true" : bare;
        string name = property.GetCustomAttribute<ValueNameAttribute>()?.Name ?? SettingValue.Describe(ValueType);
        ValueName = bare is null ? name : $"[{name}]";
    }

    /// <summary>The group under which help lists it.</summary>
    public string Section { get; }

    public PropertyInfo Property { get; }

    /// <summary>The value when neither flag nor file gives one.</summary>
    public object? Default { get; }

    /// <summary>Such as <c>--learning-rate</c>.</summary>
    public string Flag { get; }

    /// <summary>Such as <c>learning_rate</c>.</summary>
    public string Key { get; }

    public string Help { get; }

    /// <summary>Finds out whether what the value names is there; null for all other settings.</summary>
    public InputAttribute? Input { get; }

    /// <summary>The value's type, without Nullable.</summary>
    public Type ValueType { get; }

    /// <summary>May it have several values? See <see cref="RepeatedAttribute"/>.</summary>
    public bool IsRepeated { get; }

    /// <summary>May it be left unset?</summary>
    public bool AllowsNone { get; }

    /// <summary>What a value is, for help; in brackets where the flag may stand alone.</summary>
    public string ValueName { get; }

    /// <summary>What the flag means without a value; null: it needs one.</summary>
    public string? BareValue { get; }

    public bool IsSwitch => ValueType == typeof(bool);

    /// <summary>Two spellings that normalize to the same name are one key: learning_rate, learning-rate, learningRate.</summary>
    public static string Normalize(string key)
    {
        var name = new StringBuilder(key.Length);
        foreach (char c in key)
            if (c is not ('_' or '-'))
                name.Append(char.ToLowerInvariant(c));
        return name.ToString();
    }

    /// <summary>The lower-case words of a C# name: NumTrainEpochs is num, train, epochs.</summary>
    public static string[] Words(string name)
    {
        var words = new List<string>();
        int start = 0;
        for (int i = 1; i <= name.Length; i++)
            if (i == name.Length || (char.IsUpper(name[i]) && !char.IsUpper(name[i - 1])))
            {
                words.Add(name[start..i].ToLowerInvariant());
                start = i;
            }
        return [.. words];
    }
}

/// <summary>Text to value and back, the same for flags and files.</summary>
internal static class SettingValue
{
    public static bool IsSupported(Type type) =>
        type.IsEnum || type == typeof(bool) || type == typeof(int) || type == typeof(long) || type == typeof(double)
            || type == typeof(string);

    /// <summary>The words that a value of the type is one of; none when there is no such list.</summary>
    public static IReadOnlyList<string> Choices(Type type) =>
        type.IsEnum ? [.. EnumNames(type)] : type == typeof(bool) ? ["true", "false"] : [];

    public static string Describe(Type type) =>
        // A list of many names is for the description, which says what they are.
        type.IsEnum ? string.Join('|', EnumNames(type)) is { Length: <= 80 } list ? list : "NAME"
        : type == typeof(bool) ? "true|false"
        : type == typeof(double) ? "NUMBER"
        : type == typeof(string) ? "TEXT" : "N";

    /// <summary>Reads a value; <paramref name="problem"/> says what is wrong with it when there is none.</summary>
    public static bool TryParse(Setting setting, string text, out object? value, out string? problem)
    {
        (value, problem) = (null, null);
        var type = setting.ValueType;
        bool isNone = type == typeof(string) ? text is "" : text.ToLowerInvariant() is "none" or "null" or "~" or "";
        if (setting.AllowsNone && isNone)
            return true;
        value = Read(type, text);
        if (value is not null)
            return true;
        var wanted = type.IsEnum ? "one of " + string.Join(", ", EnumNames(type))
            : type == typeof(bool) ? "true or false"
            : type == typeof(double) ? "a number such as 0.1 or 1e-5" : "a whole number";
        problem = $"'{Shorten(text)}' is not {wanted}{(setting.AllowsNone ? ", nor none" : "")}";
        return false;
    }

    private static object? Read(Type type, string text)
    {
        var invariant = CultureInfo.InvariantCulture;
        if (type == typeof(string)) return text;
        if (type == typeof(bool)) return ReadSwitch(text.ToLowerInvariant());
        if (type == typeof(int)) return int.TryParse(text, NumberStyles.AllowLeadingSign, invariant, out int i) ? i : null;
        if (type == typeof(long)) return long.TryParse(text, NumberStyles.AllowLeadingSign, invariant, out long l) ? l : null;
        if (type == typeof(double))
            return double.TryParse(text, NumberStyles.Float, invariant, out double d) && double.IsFinite(d) ? d : null;
        string name = Setting.Normalize(text);
        return Enum.GetValues(type).Cast<object>().FirstOrDefault(v => Setting.Normalize(v.ToString()!) == name);
    }

    private static object? ReadSwitch(string text) => text switch
    {
        "true" or "yes" or "on" => true,
        "false" or "no" or "off" => false,
        _ => null,
    };

    /// <summary>The value as a flag or a file would have it; "none" for null.</summary>
    public static string Format(object? value) => value switch
    {
        null => "none",
        bool b => b ? "true" : "false",
        double d => FormatNumber(d),
        Enum e => string.Join('-', Setting.Words(e.ToString())),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    // 1.41e-5 rather than .NET's 1.41E-05.
    private static string FormatNumber(double value)
    {
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        int e = text.IndexOf('E');
        if (e < 0)
            return text;
        int exponent = int.Parse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return $"{text[..e]}e{exponent}";
    }

    /// <summary>Text from outside as an error message may show it.</summary>
    public static string Shorten(string text)
    {
        var clean = new string([.. text.Take(61).Select(c => char.IsControl(c) ? ' ' : c)]);
        return clean.Length > 60 ? clean[..60] + "…" : clean;
    }

    private static IEnumerable<string> EnumNames(Type type) =>
        Enum.GetNames(type).Select(n => string.Join('-', Setting.Words(n)));
}
