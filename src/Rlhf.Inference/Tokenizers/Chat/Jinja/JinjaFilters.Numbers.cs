using System.Globalization;
using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Filters of numbers.</summary>
internal static partial class JinjaFilters
{
    private static object? Abs(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("abs", 0);
        return value switch
        {
            double x => Math.Abs(x),
            long or bool or BigInteger => PyMath.Int(BigInteger.Abs(PyMath.Big(value))),
            PyUndefined x => throw x.Error(),
            _ => throw JinjaException.Type($"bad operand type for abs(): '{PyType.Name(value)}'"),
        };
    }

    private static object? Int(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("int", 0, "default", "base");
        if (value is PyUndefined missing)
            throw missing.Error();
        if (value is string or PyMarkup)
        {
            var text = PyText.Of(value);
            run.Budget.Step(text.Length);
            return PyNumbers.ParseInt(text, (int)PyStrings.Int(Or(x[1], 10L)))
                ?? (PyNumbers.ParseFloat(text) is { } number && double.IsFinite(number) ? PyNumbers.Truncate(number) : Or(x[0], 0L));
        }
        return value is double y ? double.IsFinite(y) ? PyNumbers.Truncate(y)
                : double.IsNaN(y) ? Or(x[0], 0L) : throw new JinjaException("cannot convert float infinity to integer")
            : PyMath.IsInteger(value) ? PyMath.Int(PyMath.Big(value!)) : Or(x[0], 0L);
    }

    private static object? Float(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("float", 0, "default");
        if (value is PyUndefined missing)
            throw missing.Error();
        if (value is string or PyMarkup)
        {
            run.Budget.Step(PyText.Of(value).Length);
            return PyNumbers.ParseFloat(PyText.Of(value)) is { } number ? number : Or(x[0], 0.0);
        }
        return PyMath.IsNumber(value) ? PyMath.Double(value!) : Or(x[0], 0.0);
    }

    private static object? Round(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("round", 0, "precision", "method");
        var precision = Or(x[0], 0L);
        var method = Or(x[1], "common");
        if (method is not ("common" or "ceil" or "floor"))
            throw new JinjaException("method must be common, ceil or floor");
        if (value is PyUndefined missing)
            throw missing.Error();
        if (!PyMath.IsNumber(value))
            throw JinjaException.Type($"type {PyType.Name(value)} doesn't define __round__ method");
        if (method is not "common")
        {
            var power = PyMath.Apply("**", 10L, precision, run.Budget);
            var scaled = PyMath.Apply("*", value, power, run.Budget);
            if (scaled is double number && double.IsFinite(number))
                scaled = PyMath.Int(new BigInteger(method is "ceil" ? Math.Ceiling(number) : Math.Floor(number)));
            return PyMath.Apply("/", scaled, power, run.Budget);
        }
        long digits = precision is null ? 0 : PyStrings.Int(precision);
        if (value is double real)
            return precision is null ? PyNumbers.Truncate(PyNumbers.Round(real, 0)) : PyNumbers.Round(real, (int)Math.Clamp(digits, -1000, 1000));
        if (digits >= 0)
            return PyMath.Int(PyMath.Big(value!));
        if (digits < -PyMath.MaxDigits)
            return 0L;
        var unit = BigInteger.Pow(10, (int)-digits);
        var quotient = BigInteger.DivRem(PyMath.Big(value!), unit, out var rest);
        int order = (BigInteger.Abs(rest) * 2).CompareTo(unit);
        if (order > 0 || order == 0 && !quotient.IsEven)
            quotient += PyMath.Big(value!).Sign;
        return PyMath.Int(quotient * unit);
    }

    private static object? FileSizeFormat(JinjaRun run, object? value, PyArguments arguments)
    {
        bool binary = IsTrue(arguments.Bind("filesizeformat", 0, "binary")[0]);
        double bytes = PyMath.IsNumber(value) ? PyMath.Double(value!) : value is string or PyMarkup
            ? PyNumbers.ParseFloat(PyText.Of(value)) ?? throw new JinjaException("could not convert string to float") : throw JinjaException.Type("a number is needed");
        double size = binary ? 1024 : 1000;
        if (bytes == 1)
            return "1 Byte";
        if (bytes < size)
            return PyMath.Text(PyNumbers.Truncate(bytes)) + " Bytes";
        double unit = size;
        foreach (char prefix in binary ? "KMGTPEZY" : "kMGTPEZY")
        {
            unit *= size;
            if (bytes < unit || prefix == 'Y')
                return PyNumbers.Fixed(size * bytes / unit, 1) + " " + prefix + (binary ? "iB" : "B");
        }
        throw new InvalidOperationException();
    }
}
