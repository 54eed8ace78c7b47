# What a run is given, carries from step to step and sums up.

from .schedules cimport StepRule


cdef class Settings:
    cdef StepRule rule
    cdef readonly double strength, l1_ratio
    cdef double intercept_decay, delta, beta1, beta2, epsilon
    cdef bint fit_intercept, own, rising
    cdef int optimizer
    cdef readonly Py_ssize_t batch_size
    cdef public double average_from


cdef class State:
    cdef public object weights, bias, activation, average, average_bias, received, gradient, bias_memory
    cdef public bint feature_major
    cdef public Py_ssize_t hidden
    cdef public int optimizer
    cdef public double t, scale, average_scale, averaged, penalty_total, sum_squares, sum_abs, rows, lengths


cdef class Totals:
    cdef public double loss, penalty, weight
    cdef public Py_ssize_t clipped, bad_row
