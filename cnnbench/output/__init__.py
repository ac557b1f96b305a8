"""What is seen: tables, reports, verdicts, recorders. Pure functions from records to values, then to text.

``tables`` makes table values and ``text`` renders them for terminals and Markdown; ``report`` gathers what a report
says, ``charts`` draws it, ``html`` and ``markdown`` write it; ``junit`` and ``github_summary`` serve CI; ``recorders``
send records elsewhere (JSON lines, MLflow). ``reports.write_reports(folder)`` writes all of a run's reports.
"""
