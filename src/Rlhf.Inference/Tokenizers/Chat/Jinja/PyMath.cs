using System.Globalization;
using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Numbers and the operators + - * / // % **, as in Python; strings and lists join in where Python lets them.</summary>
internal static class PyMath
{
    /// <summary>Bits of the largest integer: those of the longest that Python prints (4,300 digits).</summary>
    private const int MaxBits = 14_284;

    /// <summary>Digits of the longest integer that Python reads and prints.</summary>
    public const int MaxDigits = 4300;

    public static bool IsNumber(object? value) => value is long or double or bool or BigInteger;

    public static bool IsInteger(object? value) => value is long or bool or BigInteger;

    public static BigInteger Big(object value) => value switch
    {
        bool x => x ? 1 : 0,
        long x => x,
        _ => (BigInteger)value,
    };

    public static double Double(object value) => value switch
    {
        double x => x,
        long x => x,
        bool x => x ? 1 : 0,
        _ => ToDouble((BigInteger)value),
    };

    /// <summary>The nearest float, half to even; .NET's own conversion cuts digits off.</summary>
    private static double ToDouble(BigInteger value)
    {
        double nearest = Math.ScaleB(Rounded(BigInteger.Abs(value), out int down), down);
        return double.IsInfinity(nearest) ? throw new JinjaException("int too large to convert to float")
            : value.Sign < 0 ? -nearest : nearest;
    }

    /// <summary>An integer in the type that values of its size have.</summary>
    public static object Int(BigInteger value)
    {
        if (value >= long.MinValue && value <= long.MaxValue)
            return (long)value;
        return value.GetBitLength() <= MaxBits ? value
            : throw new JinjaException($"it makes an integer of more than {MaxDigits} digits", JinjaFault.Limit);
    }

    public static string Text(object integer) => integer switch
    {
        long x => x.ToString(CultureInfo.InvariantCulture),
        bool x => x ? "1" : "0",
        _ => ((BigInteger)integer).ToString(CultureInfo.InvariantCulture),
    };

    public static bool Equal(object left, object right) => left is double || right is double
        ? Rank(left, right) == 0 : Big(left) == Big(right);

    public static bool Order(object left, object right, string operation) => Rank(left, right) is { } order
        && PyCompare.Fits(order, operation);

    /// <summary>A hash that 1, 1.0 and True share.</summary>
    public static int Hash(object value) => value switch
    {
        double x when !double.IsFinite(x) || x != Math.Floor(x) => x.GetHashCode(),
        double x => new BigInteger(x).GetHashCode(),
        _ => Big(value).GetHashCode(),
    };

    /// <summary>left (operation) right.</summary>
    public static object? Apply(string operation, object? left, object? right, JinjaBudget budget)
    {
        if (left is PyUndefined x)
            throw x.Error();
        if (left is string or PyMarkup && operation == "%")
            return PyFormat.Percent(left, right, budget);
        if (right is PyUndefined y)
            throw y.Error();
        if (IsNumber(left) && IsNumber(right))
            return left is double || right is double ? Floats(operation, Double(left!), Double(right!)) : Integers(operation, left!, right!);
        if (operation == "+" && Add(left, right, budget) is { } sum)
            return sum;
        if (operation == "*")
        {
            if (IsInteger(right) && Repeat(left, right!, budget) is { } a)
                return a;
            if (IsInteger(left) && Repeat(right, left!, budget) is { } b)
                return b;
            if (IsSequence(left) || IsSequence(right))
                throw JinjaException.Type($"can't multiply sequence by non-int of type '{PyType.Name(IsSequence(left) ? right : left)}'");
        }
        throw JinjaException.Type($"unsupported operand type(s) for {(operation == "**" ? "** or pow()" : operation)}: "
            + $"'{PyType.Name(left)}' and '{PyType.Name(right)}'");
    }

    /// <summary>-value and +value.</summary>
    public static object? Sign(string operation, object? value) => value switch
    {
        PyUndefined x => throw x.Error(),
        double x => operation == "-" ? -x : x,
        long or bool or BigInteger => Int(operation == "-" ? -Big(value) : Big(value)),
        _ => throw JinjaException.Type($"bad operand type for unary {operation}: '{PyType.Name(value)}'"),
    };

    private static object? Add(object? left, object? right, JinjaBudget budget)
    {
        switch (left, right)
        {
            case (string a, string b):
                budget.Allocate((long)a.Length + b.Length);
                return a + b;
            case (string or PyMarkup, string or PyMarkup):
                string p = PyText.Of(left is PyMarkup ? left : PyHtml.Escape(left, budget)),
                    q = PyText.Of(right is PyMarkup ? right : PyHtml.Escape(right, budget));
                budget.Allocate((long)p.Length + q.Length);
                return new PyMarkup(p + q);
            case (string or PyMarkup, _):
                throw JinjaException.Type($"can only concatenate str (not \"{PyType.Name(right)}\") to str");
            case (List<object?> a, List<object?> b):
                budget.AllocateItems(a.Count + b.Count);
                return new List<object?>([.. a, .. b]);
            case (List<object?>, _):
                throw JinjaException.Type($"can only concatenate list (not \"{PyType.Name(right)}\") to list");
            case (PyTuple a, PyTuple b):
                budget.AllocateItems(a.Items.Length + b.Items.Length);
                return new PyTuple([.. a.Items, .. b.Items]);
            case (PyTuple, _):
                throw JinjaException.Type($"can only concatenate tuple (not \"{PyType.Name(right)}\") to tuple");
            default:
                return null;
        }
    }

    private static bool IsSequence(object? value) => value is string or PyMarkup or List<object?> or PyTuple;

    private static object? Repeat(object? value, object count, JinjaBudget budget)
    {
        long times = (long)BigInteger.Min(BigInteger.Max(Big(count), 0), JinjaBudget.MaxTotal);
        switch (value)
        {
            case string or PyMarkup:
                var text = PyText.Of(value);
                budget.Allocate(text.Length * times);
                text = text.Length == 1 ? new(text[0], (int)times) : text.Length == 0 ? ""
                    : string.Concat(Enumerable.Repeat(text, (int)times));
                return value is PyMarkup ? new PyMarkup(text) : text;
            case List<object?> or PyTuple:
                var items = value as IReadOnlyList<object?> ?? ((PyTuple)value).Items;
                budget.AllocateItems(items.Count * times);
                var all = items.Count == 0 ? [] : Enumerable.Repeat(items, (int)times).SelectMany(x => x);
                return value is PyTuple ? new PyTuple([.. all]) : new List<object?>(all);
            default:
                return null;
        }
    }

    private static object Integers(string operation, object left, object right)
    {
        if (left is long a && right is long b && Fast(operation, a, b) is { } fast)
            return fast;
        BigInteger x = Big(left), y = Big(right);
        switch (operation)
        {
            case "+":
                return Int(x + y);
            case "-":
                return Int(x - y);
            case "*":
                return Int(x * y);
            case "**":
                return Power(x, y);
        }
        if (y.IsZero)
            throw new JinjaException("division by zero");
        if (operation == "/")
            return Divide(x, y);
        var quotient = BigInteger.DivRem(x, y, out var rest);
        bool down = !rest.IsZero && rest.Sign != y.Sign;
        return operation == "//" ? Int(down ? quotient - 1 : quotient) : Int(down ? rest + y : rest);
    }

    private static object? Fast(string operation, long a, long b)
    {
        long result;
        switch (operation)
        {
            case "+":
                result = unchecked(a + b);
                return ((a ^ result) & (b ^ result)) < 0 ? null : result;
            case "-":
                result = unchecked(a - b);
                return ((a ^ b) & (a ^ result)) < 0 ? null : result;
            case "%" when b > 0:
                result = a % b;
                return result < 0 ? result + b : result;
            case "//" when b > 0:
                return a / b - (a % b < 0 ? 1 : 0);
            default:
                return null;
        }
    }

    private static object Power(BigInteger x, BigInteger y)
    {
        if (y.Sign < 0)
            return x.IsZero ? throw new JinjaException("zero to a negative power") : Math.Pow(ToDouble(x), ToDouble(y));
        if (x.IsZero || x.IsOne || y.IsZero)
            return y.IsZero ? 1L : (long)x;
        if (x == BigInteger.MinusOne)
            return y.IsEven ? 1L : -1L;
        double bits = BigInteger.Log(BigInteger.Abs(x), 2) * (double)y;
        if (bits > MaxBits + 1)
            throw new JinjaException($"it makes an integer of more than {MaxDigits} digits", JinjaFault.Limit);
        return Int(BigInteger.Pow(x, (int)y));
    }

    /// <summary>x / y correctly rounded, also where they do not fit into floats.</summary>
    private static double Divide(BigInteger x, BigInteger y)
    {
        if (BigInteger.Abs(x) <= 1L << 53 && BigInteger.Abs(y) <= 1L << 53)
            return (double)x / (double)y;
        int shift = (int)(66 + y.GetBitLength() - x.GetBitLength());
        var quotient = BigInteger.DivRem(shift >= 0 ? BigInteger.Abs(x) << shift : BigInteger.Abs(x),
            shift >= 0 ? BigInteger.Abs(y) : BigInteger.Abs(y) << -shift, out var rest);
        quotient = (quotient << 1) | (rest.IsZero ? 0 : 1); // a sticky bit: what was cut off is not lost on the rounding
        double value = Math.ScaleB(Rounded(quotient, out int down), down - shift - 1);
        if (double.IsInfinity(value))
            throw new JinjaException("integer division result too large for a float");
        return x.Sign * y.Sign < 0 ? -value : value;
    }

    /// <summary>The 53 leading bits of an integer, half to even, and how far they were shifted.</summary>
    private static double Rounded(BigInteger value, out int down)
    {
        down = (int)Math.Max(value.GetBitLength() - 53, 0);
        if (down == 0)
            return (double)value;
        var kept = value >> down;
        var rest = value - (kept << down);
        int order = rest.CompareTo(BigInteger.One << (down - 1));
        return (double)(order > 0 || order == 0 && !kept.IsEven ? kept + 1 : kept);
    }

    private static object Floats(string operation, double x, double y)
    {
        switch (operation)
        {
            case "+":
                return x + y;
            case "-":
                return x - y;
            case "*":
                return x * y;
            case "**":
                if (x == 0 && y < 0)
                    throw new JinjaException("zero to a negative power");
                double power = Math.Pow(x, y);
                return double.IsInfinity(power) && double.IsFinite(x) && double.IsFinite(y) ? throw new JinjaException("Numerical result out of range")
                    : double.IsNaN(power) && !double.IsNaN(x) && !double.IsNaN(y) ? throw new JinjaException("a power that is a complex number")
                    : power;
        }
        if (y == 0)
            throw new JinjaException("division by zero");
        if (operation == "/")
            return x / y;
        double rest = x % y;
        if (rest != 0 && rest < 0 != y < 0)
            rest += y;
        else if (rest == 0)
            rest = Math.CopySign(0, y);
        if (operation == "%")
            return rest;
        double quotient = (x - rest) / y, floor = Math.Floor(quotient);
        return quotient == 0 ? Math.CopySign(0, x / y) : quotient - floor > 0.5 ? floor + 1 : floor;
    }

    private static int? Rank(object left, object right)
    {
        if (left is not double && right is not double)
            return Big(left).CompareTo(Big(right));
        double a = Double(left), b = Double(right);
        if (double.IsNaN(a) || double.IsNaN(b))
            return null;
        if (left is double && right is double || double.IsInfinity(a) || double.IsInfinity(b) || a != b)
            return a.CompareTo(b);
        // Integers beyond 2^53 lose digits as floats: compare them exactly.
        return left is double ? new BigInteger(a).CompareTo(Big(right)) is var order && a == Math.Floor(a) ? order : a.CompareTo(b)
            : Big(left).CompareTo(new BigInteger(b));
    }
}
